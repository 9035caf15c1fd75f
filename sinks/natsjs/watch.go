package natsjs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/outbox-relay/outbox-relay/sinks/link"
)

// watch runs until the connection or ctx has ended. It looks for messages whose
// time is over, and looks up the streams of those that no stream took. It waits for
// the goroutines that it starts.
func (s *session) watch(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer cancel()
	tasks.Go(func() { s.lookUp(ctx) })

	tick := time.NewTicker(link.WatchInterval(s.options.AckTimeout))
	defer tick.Stop()
	proofs := make(chan proof, 1)
	asked := false
	var seen time.Time
	for {
		select {
		case <-s.closed:
			return
		case <-ctx.Done():
			s.cut(errClosing)
			return
		case p := <-proofs:
			asked = false
			if p.err != nil {
				s.cut(fmt.Errorf("%w: %w", errUnresponsive, p.err))
				continue
			}
			if p.asked.After(seen) {
				seen = p.asked
			}
		case now := <-tick.C:
			s.repeat(now)
			s.settleUndecided(now)
			s.refuseLate(now, seen)
			if !asked && s.overdue(now) {
				asked = true
				tasks.Go(func() { proofs <- s.prove(ctx, now) })
			}
		}
	}
}

// refuseLate refuses messages whose time is over, if the broker is seen to work: it
// acknowledged a message that was published later, or answered a question that was
// asked after their time was over.
func (s *session) refuseLate(now, seen time.Time) {
	for _, e := range s.pending.takeIf(func(e *entry, acked uint64) bool {
		return e.phase == unanswered && now.After(e.deadline) && (e.number < acked || seen.After(e.deadline))
	}) {
		s.pending.noteLate(e.message.Topic)
		if e.stranger {
			e.done(notAStream(e.message.Topic))
			continue
		}
		e.done(timedOut(e.message.Topic))
	}
}

// overdue returns whether a message waits whose time is over.
func (s *session) overdue(now time.Time) bool {
	return s.pending.any(func(e *entry) bool { return e.phase == unanswered && now.After(e.deadline) })
}

// proof is what came of a question to the broker that was not a publish. The zero
// value proves nothing.
type proof struct {
	asked time.Time
	err   error
}

// prove asks JetStream something, or makes a round trip to the server if the user
// may not ask. An error is an answer too. If there is no answer, a slow stream cannot
// be told from a dead broker, and the connection is given up, unless messages are
// acknowledged meanwhile.
func (s *session) prove(ctx context.Context, now time.Time) proof {
	acked := s.pending.lastAcknowledged()
	_, err := ask(ctx, s, askAccount, s.js.AccountInfo)
	if errors.Is(err, errDenied) {
		err = s.roundTrip(ctx)
	}
	switch {
	case err == nil, isAnswer(err):
		return proof{asked: now}
	case ctx.Err() != nil, s.pending.lastAcknowledged() > acked:
		return proof{}
	}
	return proof{err: fmt.Errorf("messages wait for acknowledgements and JetStream does not answer: %w", err)}
}

// isAnswer returns whether JetStream itself has refused a question. (That it is not
// enabled is also what the library says where nobody answers.)
func isAnswer(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && !errors.Is(err, jetstream.ErrJetStreamNotEnabled)
}

// repeat publishes messages again that a stream did not take for now, and once those
// that have waited for half of their time. While a stream changes its leader it takes
// no messages for a moment, and acknowledgements get lost. Neither is the message's
// fault.
func (s *session) repeat(now time.Time) {
	half := now.Add(s.options.AckTimeout / 2)
	for _, e := range s.pending.takeIf(func(e *entry, _ uint64) bool {
		return e.phase == repeated || e.phase == unanswered && e.due.IsZero() && !e.limited && half.After(e.deadline)
	}) {
		e.earlier = e.number
		if e.phase == unanswered {
			e.due, e.proposed = e.deadline, true
		} else {
			e.due = time.Time{}
		}
		s.requeue(e.item)
	}
}

// settleUndecided settles the messages that no stream took and about which the
// look-up said nothing, by what became of other messages.
func (s *session) settleUndecided(now time.Time) {
	for _, e := range s.pending.takeIf(func(e *entry, acked uint64) bool {
		return e.phase == undecided && e.first < acked
	}) {
		s.pending.noteLate(e.message.Topic)
		e.done(unclaimedRefused(e.message.Topic, e.doubt))
	}
	for _, e := range s.pending.takeIf(func(e *entry, _ uint64) bool {
		return e.phase == undecided && now.After(e.deadline)
	}) {
		e.done(e.notReady(e.doubt))
	}
}
