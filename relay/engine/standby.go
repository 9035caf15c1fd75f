package engine

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

const (
	// standbyPoll is how often a standby tries to take the lock. When a leader resigns,
	// the standby is woken at once; the polling is for leaders that are killed. It is
	// also the longest pause, because the server ends a control session that is silent
	// for some seconds.
	standbyPoll = time.Second
	// holderEvery is how often a standby looks up who holds the lock.
	holderEvery = 5 * time.Second
)

const faultLock = "the leadership lock is held by a session that is not a working relay"

// standby waits for the lead in one control session.
type standby struct {
	*Relay
	control relay.Control
	since   time.Time
	looked  time.Time // when it last looked up who holds the lock
	holder  relay.LockHolder
	logged  bool

	brokerDown atomic.Bool // as it was when last looked at, if anybody wants to know
}

// watchEvery is how often a standby looks whether the broker takes messages, where rows are
// not to wait for that for long. Relays that cannot reach the broker take turns: each has to
// know of all of an outage.
const watchEvery = 5 * time.Second

// watchBroker looks at the broker until the caller calls stop.
func (s *standby) watchBroker(ctx context.Context) (stop func()) {
	if s.config.MaxDefer == 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			probe, end := context.WithTimeout(ctx, probeTimeout)
			s.brokerDown.Store(s.config.Sink.Probe(probe) != nil)
			end()
			if relay.Sleep(ctx, watchEvery) != nil {
				return
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// standBy returns nil when this relay has become the leader.
func (r *Relay) standBy(ctx context.Context, control relay.Control) error {
	s := standby{Relay: r, control: control, since: time.Now()}
	defer s.watchBroker(ctx)()
	for {
		began := time.Now()
		leads, err := s.try(ctx)
		if err != nil {
			return err
		}
		// After the lock is taken: what was noted before that is seen.
		note, err := control.Note(ctx)
		if err != nil {
			return err
		}
		r.noted(note)
		if leads {
			return nil
		}
		r.progress = progress{} // only a leader has to make progress
		if err := s.look(ctx); err != nil {
			return err
		}
		s.tell()
		r.deferral.look(time.Now(), s.brokerDown.Load() && !note.Pause.On())
		// Anyone who may connect can send notifications, as many as they like. (Rule 6.)
		rest := min(max(r.config.PollInterval, 4*time.Since(began)), standbyPoll)
		if err := control.AwaitHandover(ctx, rest, standbyPoll); err != nil {
			return err
		}
	}
}

// try takes the lock if it is free, unless the relay leaves the lead to others.
func (s *standby) try(ctx context.Context) (bool, error) {
	why := "another relay leads"
	if time.Now().After(s.yields) {
		leads, err := s.control.TryLead(ctx)
		if leads {
			s.faults.recovered(faultLock)
		}
		if err != nil || leads {
			return leads, err
		}
	} else {
		why = "it leaves the lead to others for a while"
		if err := s.control.Heartbeat(ctx); err != nil { // else the server ends the session as idle
			return false, err
		}
	}
	if !s.logged {
		s.logged = true
		s.faults.recovered(faultDatabase)
		s.log.Info("standing by", slog.String("reason", why))
	}
	return false, nil
}

// look finds out who holds the lock, once the relay has waited for the lock for
// HolderAfter.
func (s *standby) look(ctx context.Context) error {
	now := time.Now()
	if now.Sub(s.since) < s.config.HolderAfter || now.Sub(s.looked) < min(holderEvery, s.config.HolderAfter) {
		return nil
	}
	before := s.holder
	var err error
	s.looked = now
	if s.holder, err = s.control.Holder(ctx); err != nil {
		return err
	}
	switch {
	case s.lockAstray():
		s.faults.report(faultLock, slog.String("holder", s.holder.String()), slog.String("fix", s.holder.Release))
	case s.holder.Relay && s.holder.PID != before.PID:
		s.faults.recovered(faultLock)
		s.log.Info("standing by: another relay leads", slog.String("holder", s.holder.String()))
	}
	return nil
}

// lockAstray says that somebody who is no relay holds the lock, so that no relay can
// lead.
func (s *standby) lockAstray() bool { return !s.holder.Nobody() && !s.holder.Relay }

func (s *standby) tell() {
	switch {
	case s.lockAstray():
		s.enterStandby(faultLock+": "+s.holder.String()+": to free it, run "+s.holder.Release, true)
	case s.holder.Relay:
		s.enterStandby("another relay leads: "+s.holder.String(), false)
	default:
		s.enterStandby("", false)
	}
}
