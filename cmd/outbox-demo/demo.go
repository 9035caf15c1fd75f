package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// errFalse says that the last line is not as it should be.
var errFalse = errors.New("the promises were not kept")

const (
	// minRolledBackPercent of the clicks, at least, must have been rolled back.
	minRolledBackPercent = 5
	// afterwards bounds the reading of the history and the relay's end.
	afterwards = 20 * time.Second
	// slowRate is how many clicks per second are written while the demonstration
	// is kept running.
	slowRate = 20
)

// demonstrate sets the stage, plays, judges, and leaves nothing behind.
func demonstrate(ctx context.Context, o options, p *progress) (err error) {
	if err := ensureServers(ctx, o.sink, p); err != nil {
		return err
	}
	s := &stage{options: o, progress: p}
	defer func() { err = errors.Join(err, s.close()) }()
	deadline := time.Now().Add(o.deadline)
	if err := s.setUp(ctx); err != nil {
		return err
	}
	err = s.run(ctx, deadline)
	if err != nil && ctx.Err() == nil && !errors.Is(err, errFalse) {
		p.plain("the relay's log ends:\n" + s.relay.LastWords())
	}
	return err
}

// run lets all parts work until the script has ended or one of them failed.
func (s *stage) run(ctx context.Context, deadline time.Time) error {
	group, ctx := errgroup.WithContext(ctx)
	ctx, curtain := context.WithCancel(ctx)
	defer curtain()
	group.Go(func() error { return unlessOver(ctx, s.consumer.run(ctx)) })
	group.Go(func() error { return unlessOver(ctx, s.watch(ctx)) })
	group.Go(func() error {
		defer curtain()
		return s.script(ctx, deadline)
	})
	return group.Wait()
}

// unlessOver is err, or nil where the end of ctx explains it.
func unlessOver(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// script is the demonstration from the first click to the last line.
func (s *stage) script(ctx context.Context, deadline time.Time) error {
	playing, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	faults := &faults{stage: s}
	err := s.play(playing, faults)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var missing []string
	if err != nil {
		missing = append(missing, "not finished: "+err.Error())
	}
	judging, cancel := context.WithTimeout(ctx, afterwards)
	defer cancel()
	v, judgeErr := s.judge(judging, faults)
	if judgeErr != nil {
		return errors.Join(err, judgeErr)
	}
	// A relay that is stuck would only be waited for.
	if !s.keep && len(missing) == 0 {
		if err := s.relay.stop(judging); err != nil {
			v.faults = append(v.faults, err.Error())
		} else {
			s.progress.step("relay stopped with SIGTERM")
		}
	}
	s.progress.step("the broker has %s messages twice; %s delivered %s to the consumer again by itself",
		thousands(v.copies), s.broker.name(), thousands(v.redelivered-v.copies))
	v.faults = append(missing, v.faults...)
	s.announce(v)
	if s.keep {
		s.keepRunning(ctx)
	}
	if !v.kept() {
		return errFalse
	}
	return nil
}

// play writes the clicks, causes the faults, and returns when everything that
// was written has arrived.
func (s *stage) play(ctx context.Context, f *faults) error {
	group, working := errgroup.WithContext(ctx)
	group.Go(func() error { return s.load.run(working) })
	group.Go(func() error { return f.run(working) })
	if err := group.Wait(); err != nil {
		return err
	}
	s.progress.step("all clicks are written")
	return s.awaitSettled(ctx)
}

// awaitSettled returns when no row is pending and the consumer has had all messages.
func (s *stage) awaitSettled(ctx context.Context) error {
	return withConn(ctx, s.pg.URL(shortenerDB), func(conn *pgx.Conn) error {
		// As last seen: an answer that did not come changes nothing.
		pending, backlog := s.clicks, s.clicks
		for {
			if n, err := countPending(ctx, conn); err == nil {
				pending = n
			}
			if n, err := s.backlog(ctx); err == nil {
				backlog = n
			}
			if pending == 0 && backlog == 0 {
				return nil
			}
			if pause(ctx, 20*time.Millisecond) != nil {
				return fmt.Errorf("after %v %d rows are pending and %d messages not consumed", s.deadline, pending, backlog)
			}
		}
	})
}

// backlog is how many messages the consumer has not had. A broker that says that
// there are none is not believed: RabbitMQ calls a quorum queue empty whose leader
// does not answer within a quarter of a second.
func (s *stage) backlog(ctx context.Context) (int, error) {
	n, err := s.broker.backlog(ctx)
	if err != nil || n > 0 {
		return n, err
	}
	return unseen(ctx, s.pg.URL(statisticsDB), s.broker)
}

// judge reads what there is and compares it with what was to be.
func (s *stage) judge(ctx context.Context, f *faults) (verdict, error) {
	h, err := readHistory(ctx, s.pg.URL(shortenerDB), s.pg.URL(statisticsDB), s.broker)
	if err != nil {
		return verdict{}, err
	}
	return judge(h, claims{
		clicks:        s.clicks,
		rolledBack:    int(s.load.undone.Load()),
		minRolledBack: s.clicks * minRolledBackPercent / 100,
		faults:        f.kills + 1, // and the broker's stop
		unmarked:      f.unmarked,
	})
}

// announce prints the last line, behind the reasons if it is not as it should be.
func (s *stage) announce(v verdict) {
	if !v.kept() {
		s.progress.plain(v.reasons())
		s.progress.plain("the relay's log ends:\n" + s.relay.LastWords())
	}
	s.progress.plain(v.String())
}

// keepRunning goes on slowly until ctx ends.
func (s *stage) keepRunning(ctx context.Context) {
	s.progress.plain(fmt.Sprintf(`
It is left running, with %d clicks per second more:
  PostgreSQL   psql '%s'
               psql '%s'
  %-12s %s, %s
  relay        process %d, log %s
Ctrl-C stops it all and removes it.
`, slowRate, s.pg.URL(shortenerDB), s.pg.URL(statisticsDB), s.broker.name(), s.broker.URL(), s.broker.place(),
		s.relay.Pid(), s.relay.LogFile()))
	if err := s.more.run(ctx); err != nil && ctx.Err() == nil {
		s.progress.step("the slow writer ended: %v", err)
		<-ctx.Done()
	}
}
