package rabbitmq

import (
	"context"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
)

var (
	_ relay.Sink    = (*Sink)(nil)
	_ relay.Pausing = (*Sink)(nil)
)

// Sink publishes to RabbitMQ. Each lane has a goroutine that writes, one more keeps a
// connection, and each channel of the connection has one that takes its confirms.
type Sink struct {
	options  Options
	lanes    []*lane // the last one is for suspects
	link     *link.Link[*session]
	suspects *suspects
	silent   *silent
	changed  *notice      // tells lanes to look again at what they wait for
	limit    atomic.Int64 // the broker's limit for payloads in bytes, told by a 406; 0: not known
	closing  atomic.Bool
	seed     maphash.Seed
	turn     int // lane of the last message without a key; only Publish uses it

	cancel context.CancelFunc
	tasks  sync.WaitGroup
}

// Open starts a sink. It fails only for what a person has to fix: addresses,
// unreadable files, options that exclude each other. It does not wait for the
// broker, which may be down for any time. The caller closes the sink.
func Open(o Options) (*Sink, error) {
	o, as, err := o.complete()
	if err != nil {
		return nil, fmt.Errorf("open RabbitMQ sink: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Sink{
		options: o, suspects: newSuspects(), silent: newSilent(), changed: newNotice(),
		seed: maphash.MakeSeed(), cancel: cancel,
	}
	s.link = link.New[*session](link.Options{Broker: "RabbitMQ", Servers: as.String(), Logger: o.Logger, Changed: s.changed.tell})
	for i := range o.Channels + 1 {
		l := &lane{sink: s, number: i, queue: link.NewQueue[item](), encoder: newEncoder()}
		s.lanes = append(s.lanes, l)
		s.tasks.Go(l.run)
	}
	s.tasks.Go(func() { s.link.Keep(ctx, newBroker(s)) })
	return s, nil
}

// Publish implements [relay.Sink]. It never blocks. Messages of a key take one
// lane, the others take turns.
func (s *Sink) Publish(m *relay.Message, report relay.Report) {
	n := s.options.Channels
	var i int
	if m.Keyed {
		i = int(maphash.String(s.seed, m.Key) % uint64(n))
	} else {
		s.turn = (s.turn + 1) % n
		i = s.turn
	}
	s.lanes[i].put(item{message: m, report: report})
}

// quarantine is the lane of suspects, on which each message is alone.
func (s *Sink) quarantine() *lane { return s.lanes[len(s.lanes)-1] }

// window of a lane's channel.
func (s *Sink) window(lane int) int {
	if lane == s.options.Channels {
		return 1
	}
	return s.options.perChannel()
}

// MaxMessageBytes implements [relay.Sink].
func (s *Sink) MaxMessageBytes() int64 {
	own := s.options.MaxMessageBytes
	if broker := s.limit.Load(); broker > 0 && broker < own {
		return broker
	}
	return own
}

// Paused implements [relay.Pausing]: a memory or disk alarm.
func (s *Sink) Paused() error {
	sess, _ := s.link.Current()
	if sess == nil {
		return nil
	}
	if blocked := sess.blocked.Load(); blocked != nil {
		return *blocked
	}
	return nil
}

// Close implements [relay.Sink]. Messages that were not written are reported as
// unavailable. Nothing in it waits for the broker for longer than a moment.
func (s *Sink) Close(ctx context.Context) error {
	s.closing.Store(true)
	s.cancel()
	for _, l := range s.lanes {
		l.queue.Close()
	}
	s.changed.tell()
	if err := link.AwaitTasks(ctx, &s.tasks); err != nil {
		return fmt.Errorf("close RabbitMQ sink: %w", err)
	}
	return nil
}
