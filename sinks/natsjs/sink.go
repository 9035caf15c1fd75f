package natsjs

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
)

var _ relay.Laned = (*Sink)(nil)

// Sink publishes to JetStream. It has three goroutines, beside those of the client
// library: one publishes, one keeps a connection, one looks up streams.
type Sink struct {
	options Options
	queue   *link.Queue[item]
	link    *link.Link[*session]
	limit   atomic.Int64  // the newest max_payload of the server, in bytes; 0: not known
	lanes   atomic.Uint64 // the last number of a lane
	// handed are the lanes that Lane has returned since the last Flush. Only the
	// goroutine that calls Publish uses them.
	handed []*lane
	// unfinished are the lanes whose newest message is not written yet. Only the
	// goroutine that writes uses them.
	unfinished map[*lane]struct{}

	cancel context.CancelFunc
	tasks  sync.WaitGroup
}

// Open starts a sink. It fails only for what a person has to fix: addresses,
// unreadable files, options that exclude each other. It does not wait for the
// broker, which may be down for any time. The caller closes the sink.
func Open(o Options) (*Sink, error) {
	o, as, err := o.complete()
	if err != nil {
		return nil, fmt.Errorf("open JetStream sink: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Sink{options: o, queue: link.NewQueue[item](), cancel: cancel, unfinished: make(map[*lane]struct{})}
	s.link = link.New[*session](link.Options{Broker: "NATS", Servers: as.String(), Logger: o.Logger})
	s.tasks.Go(func() { s.link.Keep(ctx, &broker{sink: s}) })
	s.tasks.Go(s.publishQueue)
	return s, nil
}

// Publish implements [relay.Sink]. It never blocks.
func (s *Sink) Publish(m *relay.Message, report relay.Report) {
	s.requeue(item{message: m, report: report})
}

func (s *Sink) requeue(it item) {
	if !s.queue.Put(it) {
		it.unsent(errClosing)
	}
}

// Lane implements [relay.Laned].
func (s *Sink) Lane(m *relay.Message) relay.Lane {
	sess, _ := s.link.Current()
	if sess == nil {
		return relay.Lane{}
	}
	l := sess.lanes.join(m)
	if l == nil {
		return relay.Lane{}
	}
	if s.find(l.number) == nil {
		s.handed = append(s.handed, l)
	}
	return relay.Lane{Number: l.number, Strict: true}
}

func (s *Sink) find(number uint64) *lane {
	for _, l := range s.handed {
		if l.number == number {
			return l
		}
	}
	return nil
}

// PublishIn implements [relay.Laned]. The last message of a lane waits for Flush.
func (s *Sink) PublishIn(to relay.Lane, m *relay.Message, report relay.Report) {
	it := item{message: m, report: report, lane: goneLane}
	if l := s.find(to.Number); l != nil {
		it.lane = l
		l.handed.Add(1)
	}
	if !s.queue.Put(it) {
		report(m, withdrawn)
	}
}

// Flush implements [relay.Laned].
func (s *Sink) Flush() {
	for _, l := range s.handed {
		l.session.lanes.flush(l)
	}
	clear(s.handed)
	s.handed = s.handed[:0]
}

// MaxMessageBytes implements [relay.Sink]. Headers count against the server's limit
// too, so a payload just below the limit may still be too large.
func (s *Sink) MaxMessageBytes() int64 {
	server := s.limit.Load()
	if own := s.options.MaxMessageBytes; own > 0 && (server == 0 || own < server) {
		return own
	}
	return server
}

// Close implements [relay.Sink]. Messages that were not written are reported as
// unavailable. Nothing in it waits for the broker.
func (s *Sink) Close(ctx context.Context) error {
	s.cancel()
	s.queue.Close()
	if err := link.AwaitTasks(ctx, &s.tasks); err != nil {
		return fmt.Errorf("close JetStream sink: %w", err)
	}
	return nil
}

// publishQueue writes what Publish queued, until the queue is closed.
func (s *Sink) publishQueue() {
	var e encoder
	s.queue.Run(func(items []item, closed bool) {
		s.publishItems(&e, items, closed)
		e.forget()
		if closed {
			s.strandAll()
		}
	})
}

func (s *Sink) publishItems(e *encoder, items []item, closed bool) {
	now := time.Now()
	sess, downErr := s.link.Current()
	if closed {
		sess, downErr = nil, errClosing
	}
	l := limits{payload: s.options.MaxMessageBytes, inbox: s.options.InboxPrefix}
	if sess != nil {
		l.message = sess.conn.MaxPayload()
		s.limit.Store(l.message)
	} else {
		l.message = s.limit.Load()
	}
	for _, it := range items {
		if it.lane != nil && !it.alone {
			s.publishLaned(e, sess, it, l, now)
			continue
		}
		size, err := validate(it.message, l)
		switch {
		case err != nil:
			it.done(relay.RejectedOutcome(err))
		case sess == nil:
			it.unsent(downErr)
		default:
			sess.publish(e, it, size, now)
		}
	}
}
