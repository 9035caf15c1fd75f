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
	_ relay.Laned   = (*Sink)(nil)
	_ relay.Pausing = (*Sink)(nil)
)

// Sink publishes to RabbitMQ. Each lane has a goroutine that writes. Each of the two
// connections has one that keeps the connection. Each channel has one that reads its
// confirms.
type Sink struct {
	options  Options
	lanes    []*lane // the last one is for suspects
	link     *link.Link[*session]
	suspects *suspects
	late     *lateTopics
	aside    *aside
	changed  *notice      // tells lanes that something they wait for may have changed
	limit    atomic.Int64 // the broker's limit for payloads in bytes, learned from a 406; 0: not known
	closing  atomic.Bool
	seed     maphash.Seed
	runs     atomic.Uint64 // the number of the newest run
	turn     int           // the lane of the last message without a key; only Publish uses it

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
		options: o, suspects: newSuspects(), changed: newNotice(),
		seed: maphash.MakeSeed(), cancel: cancel,
	}
	s.link = link.New[*session](link.Options{Broker: "RabbitMQ", Servers: as.String(), Logger: o.Logger, Changed: s.changed.tell})
	s.late = newLateTopics(s.changed.tell)
	s.aside = newAside(s, as.String())
	for i := range o.Channels {
		s.addLane(ordinaryLane, i, o.perChannel())
	}
	s.addLane(suspectLane, o.Channels, suspectWindow)
	for _, l := range s.lanes {
		s.tasks.Go(l.work)
	}
	s.tasks.Go(s.aside.run)
	s.tasks.Go(func() { s.link.Keep(ctx, newBroker(s)) })
	s.tasks.Go(func() { s.aside.link.Keep(ctx, &asideBroker{newBroker(s), s.aside}) })
	return s, nil
}

func (s *Sink) addLane(kind laneKind, number, window int) {
	l := &lane{
		sink: s, kind: kind, number: number, window: window, queue: link.NewQueue[item](), encoder: newEncoder(),
	}
	l.run.begin(s.runs.Add(1))
	s.lanes = append(s.lanes, l)
}

// Publish implements [relay.Sink]. It never blocks. All messages of a key go to one
// lane. Messages without a key go to each lane in turn.
func (s *Sink) Publish(m *relay.Message, report relay.Report) {
	n := s.options.Channels
	l := s.laneOf(m)
	if !m.Keyed {
		s.turn = (s.turn + 1) % n
		l = s.lanes[s.turn]
	}
	l.put(item{message: m, report: report})
}

// Lane implements [relay.Laned]. It returns the current run of the key's lane. A run is
// not strict. Suspect and late topics have lanes of their own and no run.
func (s *Sink) Lane(m *relay.Message) relay.Lane {
	sess, _ := s.link.Current()
	if sess == nil || !m.Keyed || s.suspects.has(m.Topic) || s.late.has(m.Topic) {
		return relay.Lane{}
	}
	return relay.Lane{Number: s.laneOf(m).run.current()}
}

// PublishIn implements [relay.Laned].
func (s *Sink) PublishIn(l relay.Lane, m *relay.Message, report relay.Report) {
	s.laneOf(m).put(item{message: m, report: report, run: l.Number})
}

// Flush implements [relay.Laned]. It does nothing, because no message waits for it.
func (s *Sink) Flush() {}

// laneOf returns the ordinary lane of a message: the lane of its key, or any lane.
func (s *Sink) laneOf(m *relay.Message) *lane {
	n := uint64(s.options.Channels)
	if m.Keyed {
		return s.lanes[maphash.String(s.seed, m.Key)%n]
	}
	return s.lanes[uint64(m.ID)%n]
}

// suspectLane returns the lane of messages that may close their channel.
func (s *Sink) suspectLane() *lane { return s.lanes[len(s.lanes)-1] }

// suspectWindow is how many unconfirmed suspects there may be, see [asideWindow].
const suspectWindow = 24

// MaxMessageBytes implements [relay.Sink].
func (s *Sink) MaxMessageBytes() int64 {
	own := s.options.MaxMessageBytes
	if broker := s.limit.Load(); broker > 0 && broker < own {
		return broker
	}
	return own
}

// Paused implements [relay.Pausing]. The cause of a pause is a memory or disk alarm.
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
	s.aside.close()
	s.changed.tell()
	if err := link.AwaitTasks(ctx, &s.tasks); err != nil {
		return fmt.Errorf("close RabbitMQ sink: %w", err)
	}
	return nil
}
