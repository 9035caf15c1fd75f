package rabbitmq

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"

	"github.com/outbox-relay/outbox-relay/sinks/link"
)

var _ link.Broker[*session] = (*broker)(nil)

// broker connects the sink's link to RabbitMQ, to one node after the other.
type broker struct {
	sink  *Sink
	first int // which node to try first, modulo the number of nodes
}

// maxNodes is far more than anybody has, so that each node is equally likely to be the
// first.
const maxNodes = 1 << 20

func newBroker(s *Sink) *broker { return &broker{sink: s, first: rand.IntN(maxNodes)} }

// Connect implements [link.Broker].
func (b *broker) Connect(ctx context.Context) (*session, error) {
	s, err := b.connect(ctx, b.sink.writers)
	if err == nil {
		b.sink.limit.Store(0) // the broker's limit may have been raised
	}
	return s, err
}

// connect tries the nodes one after the other.
func (b *broker) connect(ctx context.Context, writers []*writer) (*session, error) {
	s := b.sink
	as, err := s.options.nodes()
	if err != nil {
		return nil, err
	}
	var errs []error
	for i := range as {
		a := as[(b.first+i)%len(as)]
		sess, err := openSession(ctx, s, a, writers)
		if err == nil {
			b.first += i + 1 // the next time, another one
			return sess, nil
		}
		errs = append(errs, withAdvice(err, s.options, a))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}

// Describe implements [link.Broker].
func (b *broker) Describe(s *session) []slog.Attr {
	return []slog.Attr{slog.String("address", s.address.host), slog.String("version", s.version())}
}

// Serve implements [link.Broker].
func (b *broker) Serve(ctx context.Context, s *session) error {
	if err := s.fault.Load(); err != nil {
		s.options.Logger.Warn("connected to RabbitMQ, which takes no messages", slog.Any("error", *err))
	}
	s.watch(ctx)
	return s.lost()
}

// End implements [link.Broker].
func (b *broker) End(s *session) {
	b.sink.lateSender.cut(errMainLost)
	s.end()
}

// version is what the broker says of itself, such as 4.0.5.
func (s *session) version() string {
	version, _ := s.conn.Properties["version"].(string)
	return version
}
