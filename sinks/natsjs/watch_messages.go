package natsjs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/outbox-relay/outbox-relay/relay"
)

const (
	everything = ">"
	// streamsAgain is the pause before streams are looked for again.
	streamsAgain = 500 * time.Millisecond
	// watchAhead bounds what a watch reads ahead of each stream.
	watchAhead = 100
)

// WatchMessages shows the messages that the streams get, or have, until no more are
// wanted or ctx ends, which is no error. It reads through consumers of its own that
// acknowledge nothing and are deleted at the end. If no stream exists yet, it waits for
// one.
func WatchMessages(ctx context.Context, o Options, w relay.Watch) error {
	o, as, err := o.complete()
	if err != nil {
		return err
	}
	if w.Pattern == "" {
		w.Pattern = everything
	}
	s, err := openSession(ctx, o, as.servers(nil), requeuing{func(item) bool { return false }, new(atomic.Uint64)})
	if err != nil {
		return fmt.Errorf("connect to NATS at %s: %w", as, withAdvice(err, o))
	}
	defer s.end()
	streams, err := s.awaitStreams(ctx, w)
	if err != nil || len(streams) == 0 {
		return err
	}
	return s.watchStreams(ctx, streams, w)
}

// awaitStreams returns the streams that have subjects of the pattern; none if ctx has ended.
func (s *session) awaitStreams(ctx context.Context, w relay.Watch) ([]string, error) {
	again := time.NewTicker(streamsAgain)
	defer again.Stop()
	for said := false; ; said = true {
		names, err := ask(ctx, s, askNames, func(ctx context.Context) ([]string, error) {
			listed := s.js.StreamNames(ctx, jetstream.WithStreamListSubject(w.Pattern))
			var names []string
			for name := range listed.Name() {
				names = append(names, name)
			}
			return names, listed.Err()
		})
		switch {
		case ctx.Err() != nil:
			return nil, nil
		case errors.Is(err, errDenied):
			return nil, errors.New("the user may not look for streams: allow it to publish to $JS.API.STREAM.NAMES, $JS.API.STREAM.INFO.* and $JS.API.CONSUMER.>")
		case err != nil:
			return nil, fmt.Errorf("look for streams: %w", err)
		case len(names) > 0:
			return names, nil
		case !said:
			w.Say(fmt.Sprintf("no stream has subjects like %s yet: waiting for one", w.Pattern))
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil, nil
		case <-s.closed:
			return nil, s.lost()
		}
	}
}

// watchStreams hands over what the streams deliver.
func (s *session) watchStreams(ctx context.Context, streams []string, w relay.Watch) error {
	arrived := make(chan *relay.Arrival)
	failed := make(chan error, len(streams))
	done := make(chan struct{})
	defer close(done)
	for _, name := range streams {
		stop, err := s.consume(ctx, name, w, func(a *relay.Arrival) {
			select {
			case arrived <- a:
			case <-done:
			}
		}, failed)
		if err != nil {
			return s.explainUnread(name, err)
		}
		defer stop()
	}
	w.Say(fmt.Sprintf("watching %s in stream %s; this takes nothing from other consumers", w.Pattern, strings.Join(streams, ", ")))
	for {
		select {
		case a := <-arrived:
			if !w.Take(a) {
				return nil
			}
		case err := <-failed:
			return err
		case <-s.closed:
			return s.lost()
		case <-ctx.Done():
			return nil
		}
	}
}

// explainUnread says what to do about a stream that cannot be read. If the request is not
// permitted, the server does not answer it but reports the violation separately, and the
// request times out.
func (s *session) explainUnread(stream string, err error) error {
	if denied := s.conn.LastError(); errors.Is(denied, nats.ErrPermissionViolation) {
		return fmt.Errorf("the user may not read stream %s: allow it to publish to $JS.API.CONSUMER.>: %w", stream, denied)
	}
	return fmt.Errorf("read stream %s: %w", stream, err)
}

// consume starts a consumer that keeps the stream's order. The first error from which
// it does not recover goes to failed.
func (s *session) consume(ctx context.Context, stream string, w relay.Watch, take func(*relay.Arrival), failed chan<- error) (stop func(), err error) {
	config := jetstream.OrderedConsumerConfig{FilterSubjects: []string{w.Pattern}, DeliverPolicy: jetstream.DeliverNewPolicy}
	if w.All {
		config.DeliverPolicy = jetstream.DeliverAllPolicy
	}
	if w.Pattern == everything {
		config.FilterSubjects = nil
	}
	consumer, err := s.js.OrderedConsumer(ctx, stream, config)
	if err != nil {
		return nil, err
	}
	running, err := consumer.Consume(func(m jetstream.Msg) { take(arrivalOf(m)) }, jetstream.PullMaxMessages(watchAhead),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
			if errors.Is(err, jetstream.ErrNoHeartbeat) || errors.Is(err, jetstream.ErrConsumerDeleted) {
				return // the library makes another consumer
			}
			select {
			case failed <- fmt.Errorf("read stream %s: %w", stream, err):
			default:
			}
		}))
	if err != nil {
		return nil, err
	}
	return running.Stop, nil
}

func arrivalOf(m jetstream.Msg) *relay.Arrival {
	a := &relay.Arrival{Topic: m.Subject(), Payload: m.Data()}
	if meta, err := m.Metadata(); err == nil {
		a.At = meta.Timestamp
	}
	for name, values := range m.Headers() {
		if len(values) == 0 {
			continue
		}
		switch name {
		case jetstream.MsgIDHeader:
			a.MessageID = values[0]
		case headerKey:
			a.Key = &values[0]
		case headerContentType:
			a.ContentType = values[0]
		default:
			for _, value := range values {
				a.Headers = append(a.Headers, relay.Header{Name: name, Value: value})
			}
		}
	}
	slices.SortFunc(a.Headers, func(x, y relay.Header) int { return strings.Compare(x.Name, y.Name) })
	return a
}
