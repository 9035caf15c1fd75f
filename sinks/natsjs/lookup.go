package natsjs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/outbox-relay/outbox-relay/relay"
)

// lookup finds out why no stream took a message: no stream has its topic, or JetStream
// is not up, or the stream is not up. One goroutine asks about one topic at a time, so
// many messages of a topic cost one question.
type lookup struct {
	ready chan struct{} // holds one: topics are waiting

	mu     sync.Mutex
	topics []string

	// Owned by the goroutine that asks.
	answers map[string]answer // by topic
	mute    answer            // for every topic: why nothing could be looked up
}

// answer is what is known of a topic, for a short while.
type answer struct {
	until time.Time
	// err is errNoStream, errNotReady or errStreamSilent, or says why nothing is known.
	// It is never nil.
	err error
}

var (
	errNoStream = errors.New("no stream has it")
	errNotReady = errors.New("JetStream is not ready")
	// errStreamSilent: a stream has the topic, but did not take the message.
	errStreamSilent = errors.New("has it and does not answer")
)

const (
	// answerAge is how long an answer is used. So a burst of messages of one topic asks
	// once, and a stream that is created meanwhile is found a second later.
	answerAge = time.Second
	// answersKept bounds the memory if an application makes up thousands of topics.
	answersKept = 1000
	// decideAfter is how long messages that no stream took wait until others are
	// acknowledged, if the look-up gives no answer.
	decideAfter = time.Second
	// routeTries is how often a message is published after a stream was created for
	// it: more than once, because another relay may change the stream at the same time.
	routeTries = 3
)

func newLookup() *lookup {
	return &lookup{ready: make(chan struct{}, 1), answers: make(map[string]answer)}
}

// ask has all messages of the topic settled that no stream took (phase unclaimed).
func (l *lookup) ask(topic string) {
	l.mu.Lock()
	l.topics = append(l.topics, topic)
	l.mu.Unlock()
	select {
	case l.ready <- struct{}{}:
	default:
	}
}

func (l *lookup) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	topics := l.topics
	l.topics = nil
	return topics
}

// lookUp settles the topics that are asked about, until ctx ends.
func (s *session) lookUp(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.lookup.ready:
		}
		settled := make(map[string]bool)
		for _, topic := range s.lookup.take() {
			if ctx.Err() != nil {
				return
			}
			if !settled[topic] {
				settled[topic] = true
				s.settleUnclaimed(ctx, topic)
			}
		}
	}
}

// settleUnclaimed settles all messages of the topic that no stream took.
func (s *session) settleUnclaimed(ctx context.Context, topic string) {
	err := s.findStream(ctx, topic)
	unclaimedHere := func(e *entry, _ uint64) bool { return e.phase == unclaimed && e.message.Topic == topic }
	switch {
	case errors.Is(err, errNoStream):
		s.noStream(ctx, topic, s.pending.takeIf(unclaimedHere))
	case errors.Is(err, errNotReady) && s.pending.lastAcknowledged() == 0:
		for _, e := range s.pending.takeIf(unclaimedHere) {
			e.done(e.notReady(err))
		}
	default:
		now := time.Now()
		until := now
		switch {
		case errors.Is(err, errStreamSilent):
			until = now.Add(2 * s.options.AckTimeout)
		case !errors.Is(err, errNotReady):
			until = now.Add(s.options.AckTimeout)
		}
		s.pending.markUndecided(topic, err, now, until, now.Add(min(decideAfter, s.options.AckTimeout)))
	}
}

// findStream returns why no stream took a message of the topic.
func (s *session) findStream(ctx context.Context, topic string) error {
	now := time.Now()
	if a, ok := s.lookup.answers[topic]; ok && now.Before(a.until) {
		return a.err
	}
	if now.Before(s.lookup.mute.until) {
		return s.lookup.mute.err
	}
	name, err := ask(ctx, s, askNames, func(ctx context.Context) (string, error) {
		return s.js.StreamNameBySubject(ctx, topic)
	})
	a := answer{time.Now().Add(answerAge), explain(name, err)}
	if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		// This error is not about the topic. To run into it again for each other topic
		// would take minutes.
		s.lookup.mute = a
		return a.err
	}
	if len(s.lookup.answers) >= answersKept {
		clear(s.lookup.answers)
	}
	s.lookup.answers[topic] = a
	return a.err
}

func explain(stream string, err error) error {
	var api *jetstream.APIError
	switch {
	case err == nil:
		return fmt.Errorf("stream %q %w", stream, errStreamSilent)
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return errNoStream
	case errors.Is(err, nats.ErrNoResponders):
		return fmt.Errorf("%w: the server runs without it, or it is starting", errNotReady)
	case errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeJetStreamNotEnabled || api.ErrorCode == jetstream.JSErrCodeJetStreamNotEnabledForAccount):
		return fmt.Errorf("%w: %w", errNotReady, err)
	}
	return fmt.Errorf("cannot look up its stream: %w", err)
}

// noStream refuses the messages, or creates a stream for their topic and has them
// published again.
func (s *session) noStream(ctx context.Context, topic string, entries []entry) {
	if len(entries) == 0 {
		return
	}
	refused := unroutable(topic)
	if s.options.Topology == Create {
		err := s.createRoute(ctx, topic)
		if err == nil {
			delete(s.lookup.answers, topic)
			s.lanes.appeared(topic)
			for _, e := range entries {
				if e.tries++; e.tries <= routeTries {
					s.again(e.item)
					continue
				}
				e.done(refused)
			}
			return
		}
		refused = relay.RefusedOutcome(relay.ErrorTypeUnroutable, "no stream has subject %s, and adding it failed: %w", relay.Quote(topic), err)
	}
	for _, e := range entries {
		e.done(refused)
	}
}
