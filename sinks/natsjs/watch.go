package natsjs

import (
	"context"
	"fmt"
	"sync"
	"time"

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
			seen = p.asked
		case now := <-tick.C:
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
		e.done(timedOut(e.message.Topic))
	}
}

// overdue returns whether a message waits whose time is over.
func (s *session) overdue(now time.Time) bool {
	return s.pending.any(func(e *entry) bool { return e.phase == unanswered && now.After(e.deadline) })
}

// proof is what came of a question to the broker that was not a publish.
type proof struct {
	asked time.Time
	err   error
}

// prove asks JetStream something. If there is no answer, a slow stream cannot be
// told from a dead broker, and the connection is given up.
func (s *session) prove(ctx context.Context, now time.Time) proof {
	_, err := ask(ctx, s, askAccount, s.js.AccountInfo)
	if err != nil && ctx.Err() == nil {
		return proof{now, fmt.Errorf("messages wait for acknowledgements and JetStream does not answer: %w", err)}
	}
	return proof{now, nil}
}

// settleUndecided settles the messages that no stream took and about which the
// look-up said nothing, by what became of other messages.
func (s *session) settleUndecided(now time.Time) {
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
