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
	tasks.Go(func() { s.lookUpRoutes(ctx) })

	tick := time.NewTicker(link.WatchInterval(s.options.AckTimeout))
	defer tick.Stop()
	proofs := make(chan proof, 1)
	judge := link.NewJudge(s.options.AckTimeout)
	for {
		select {
		case <-s.closed:
			return
		case <-ctx.Done():
			s.cut(errClosing)
			return
		case p := <-proofs:
			switch {
			case p.err != nil:
				s.cut(fmt.Errorf("%w: %w", errUnresponsive, p.err))
			case p.answered:
				judge.Reply(time.Now())
			default:
				judge.Withdraw()
			}
		case now := <-tick.C:
			s.repeat(now)
			s.settleUndecided(now)
			if answered := s.pending.lastAnswered(); !answered.IsZero() {
				judge.Answer(answered.Add(-s.options.AckTimeout), now)
			}
			s.refuseLate(judge, now)
			if s.watchLanes(judge, now) || s.hasToAsk(judge, now) {
				judge.Asked(now)
				tasks.Go(func() { proofs <- s.prove(ctx) })
			}
		}
	}
}

// began returns when a message's time for an acknowledgement began.
func (s *session) began(e *entry) time.Time { return e.deadline.Add(-s.options.AckTimeout) }

// refuseLate refuses the messages that the judge finds late.
func (s *session) refuseLate(judge *link.Judge, now time.Time) {
	for _, e := range s.pending.takeIf(func(e *entry, _ uint64) bool {
		return e.phase == unanswered && judge.Of(s.began(e), now) == link.Late
	}) {
		s.noteLate(e.message.Topic)
		if e.stranger {
			e.done(notAStream(e.message.Topic))
			continue
		}
		e.done(timedOut(e.message.Topic))
	}
}

// hasToAsk returns whether the broker has to be asked about a message that waits. It
// ignores link.StepGiveUp, because a question has a deadline of its own.
func (s *session) hasToAsk(judge *link.Judge, now time.Time) bool {
	return s.pending.any(func(e *entry) bool { return e.phase == unanswered && judge.Next(s.began(e), now) == link.StepAsk })
}

// proof is the result of a question to the broker that is not a publish. The zero value
// proves nothing.
type proof struct {
	answered bool
	err      error
}

// prove asks JetStream something, or makes a round trip to the server if the user may
// not ask. An error is an answer too. Without an answer nobody can tell a slow stream
// from a dead broker. Then the connection is given up, unless messages are acknowledged
// meanwhile.
func (s *session) prove(ctx context.Context) proof {
	acked := s.pending.lastAcknowledged()
	_, err := ask(ctx, s, askAccount, s.js.AccountInfo)
	if errors.Is(err, errDenied) {
		err = s.roundTrip(ctx)
	}
	switch {
	case err == nil, isAnswer(err):
		return proof{answered: true}
	case ctx.Err() != nil, s.pending.lastAcknowledged() > acked:
		return proof{}
	}
	return proof{err: fmt.Errorf("messages wait for acknowledgements and JetStream does not answer: %w", err)}
}

// isAnswer returns whether JetStream itself has refused a question. ("Not enabled" does
// not count: the library says that too if nobody answers.)
func isAnswer(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && !errors.Is(err, jetstream.ErrJetStreamNotEnabled)
}

// repeat publishes messages again that a stream did not take for now. It also publishes
// those once more that have waited for half of their time. While a stream changes its
// leader, it takes no messages for a moment, and acknowledgements get lost. Neither is
// the message's fault.
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
		s.again(e.item)
	}
}

// settleUndecided settles messages that no stream took, and for which the look-up gave
// no reason: they are refused if a later message was acknowledged, and unavailable if
// none was in time.
func (s *session) settleUndecided(now time.Time) {
	for _, e := range s.pending.takeIf(func(e *entry, acked uint64) bool {
		return e.phase == undecided && e.first < acked
	}) {
		s.noteLate(e.message.Topic)
		e.done(unclaimedRefused(e.message.Topic, e.doubt))
	}
	for _, e := range s.pending.takeIf(func(e *entry, _ uint64) bool {
		return e.phase == undecided && now.After(e.deadline)
	}) {
		s.lanes.noteLate(e.message.Topic)
		e.done(e.notReady(e.doubt))
	}
}
