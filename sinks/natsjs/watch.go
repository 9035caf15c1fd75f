package natsjs

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/outbox-relay/outbox-relay/sinks/link"
)

// watch runs while the connection lives: it looks for messages whose time is
// over, and looks up the streams of those that nobody took. It returns when the
// connection has ended, or ctx. It starts goroutines and awaits them.
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
			seen = p.asked
		case now := <-tick.C:
			s.decide(now)
			s.refuseLate(now, seen)
			if !asked && s.overdue(now) {
				asked = true
				tasks.Go(func() { proofs <- s.prove(ctx, now) })
			}
		}
	}
}

// refuseLate refuses messages whose time is over, where the broker is seen to
// work: it acknowledged a message published later, or answered when asked after
// their time was over.
func (s *session) refuseLate(now, seen time.Time) {
	for _, e := range s.pending.takeIf(func(e *entry, acked uint64) bool {
		return e.phase == unanswered && now.After(e.deadline) && (e.number < acked || seen.After(e.deadline))
	}) {
		e.done(timedOut(e.message.Topic))
	}
}

// overdue says whether messages wait whose time is over.
func (s *session) overdue(now time.Time) bool {
	return s.pending.any(func(e *entry) bool { return e.phase == unanswered && now.After(e.deadline) })
}

// proof is whether the broker answered a question other than a publish.
type proof struct {
	asked time.Time
	err   error
}

// prove asks JetStream something. Where it cannot be asked, nothing tells a
// slow stream from a dead broker, and the connection is given up.
func (s *session) prove(ctx context.Context, now time.Time) proof {
	_, err := ask(ctx, s, askAccount, s.js.AccountInfo)
	if err != nil && ctx.Err() == nil {
		return proof{now, fmt.Errorf("messages wait for acknowledgements and JetStream does not answer: %w", err)}
	}
	return proof{now, nil}
}

// decide settles the messages that nobody took and for which a look-up told
// nothing: other publishes do.
func (s *session) decide(now time.Time) {
	for _, e := range s.pending.takeIf(func(e *entry, acked uint64) bool {
		return e.phase == undecided && e.number < acked
	}) {
		e.done(unclaimedRefused(e.message.Topic, e.doubt))
	}
	for _, e := range s.pending.takeIf(func(e *entry, _ uint64) bool {
		return e.phase == undecided && now.After(e.deadline)
	}) {
		e.done(notReady(e.message.Topic, e.doubt))
	}
}
