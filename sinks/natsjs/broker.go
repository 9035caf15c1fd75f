package natsjs

import (
	"context"
	"log/slog"

	"github.com/outbox-relay/outbox-relay/sinks/link"
)

var _ link.Broker[*session] = (*broker)(nil)

// broker connects the sink's link to NATS.
type broker struct {
	sink       *Sink
	discovered discovered // servers that earlier sessions were told about
}

// Connect implements [link.Broker].
func (b *broker) Connect(ctx context.Context) (*session, error) {
	s := b.sink
	as, err := s.options.servers()
	if err != nil {
		return nil, err
	}
	sess, err := openSession(ctx, s.options, as.servers(b.discovered), requeuing{s.queue.Put, &s.lanes})
	if err != nil {
		return nil, withAdvice(err, s.options)
	}
	s.limit.Store(sess.conn.MaxPayload())
	return sess, nil
}

// Describe implements [link.Broker].
func (b *broker) Describe(s *session) []slog.Attr {
	return []slog.Attr{
		slog.String("address", s.conn.ConnectedAddr()),
		slog.String("server", s.conn.ConnectedServerName()),
		slog.String("version", s.conn.ConnectedServerVersion()),
	}
}

// Serve implements [link.Broker].
func (b *broker) Serve(ctx context.Context, s *session) error {
	s.watch(ctx)
	b.discovered = b.discovered.next(s.server, s.conn.DiscoveredServers())
	return s.lost()
}

// End implements [link.Broker].
func (b *broker) End(s *session) { s.end() }
