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

// Sink publishes to RabbitMQ. Each writer has a goroutine that writes. Each of the two
// connections has one that keeps the connection. Each channel has one that reads its
// confirms.
type Sink struct {
	options    Options
	writers    []*writer // the last one is for suspects
	link       *link.Link[*session]
	suspects   *suspects
	late       *lateTopics
	lateSender *lateSender
	changed    *notice      // tells writers that something they wait for may have changed
	limit      atomic.Int64 // the broker's limit for payloads in bytes, learned from a 406; 0: not known
	closing    atomic.Bool
	seed       maphash.Seed
	runs       atomic.Uint64 // the number of the newest run
	turn       int           // the writer of the last message without a key; only Publish uses it

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
	s.lateSender = newLateSender(s, as.String())
	for i := range o.Channels {
		s.addWriter(ordinaryWriter, i, o.perChannel())
	}
	s.addWriter(suspectWriter, o.Channels, suspectWindow)
	for _, w := range s.writers {
		s.tasks.Go(w.work)
	}
	s.tasks.Go(s.lateSender.run)
	s.tasks.Go(func() { s.link.Keep(ctx, newBroker(s)) })
	s.tasks.Go(func() { s.lateSender.link.Keep(ctx, &lateBroker{newBroker(s), s.lateSender}) })
	return s, nil
}

func (s *Sink) addWriter(kind writerKind, number, window int) {
	w := &writer{
		sink: s, kind: kind, number: number, window: window, queue: link.NewQueue[item](), encoder: newEncoder(),
	}
	w.run.begin(s.runs.Add(1))
	s.writers = append(s.writers, w)
}

// Publish implements [relay.Sink]. It never blocks. All messages of a key go to one
// writer. Messages without a key go to each writer in turn.
func (s *Sink) Publish(m *relay.Message, report relay.Report) {
	n := s.options.Channels
	w := s.writerOf(m)
	if !m.Keyed {
		s.turn = (s.turn + 1) % n
		w = s.writers[s.turn]
	}
	w.put(item{message: m, report: report})
}

// Lane implements [relay.Laned]. It returns the current run of the key's writer. A run is
// not strict. Suspect and late topics have writers of their own and no run.
func (s *Sink) Lane(m *relay.Message) relay.Lane {
	sess, _ := s.link.Current()
	if sess == nil || !m.Keyed || s.suspects.has(m.Topic) || s.late.has(m.Topic) {
		return relay.Lane{}
	}
	return relay.Lane{Number: s.writerOf(m).run.current()}
}

// PublishIn implements [relay.Laned].
func (s *Sink) PublishIn(l relay.Lane, m *relay.Message, report relay.Report) {
	s.writerOf(m).put(item{message: m, report: report, run: l.Number})
}

// Flush implements [relay.Laned]. It does nothing, because no message waits for it.
func (s *Sink) Flush() {}

// writerOf returns the ordinary writer of a message: the writer of its key, or any writer.
func (s *Sink) writerOf(m *relay.Message) *writer {
	n := uint64(s.options.Channels)
	if m.Keyed {
		return s.writers[maphash.String(s.seed, m.Key)%n]
	}
	return s.writers[uint64(m.ID)%n]
}

// suspectWriter returns the writer of messages that may close their channel.
func (s *Sink) suspectWriter() *writer { return s.writers[len(s.writers)-1] }

// suspectWindow is how many unconfirmed suspects there may be, see [lateWindow].
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
	return sess.signs.whyBlocked()
}

// Close implements [relay.Sink]. Messages that were not written are reported as
// unavailable. Nothing in it waits for the broker for longer than a moment.
func (s *Sink) Close(ctx context.Context) error {
	s.closing.Store(true)
	s.cancel()
	for _, w := range s.writers {
		w.queue.Close()
	}
	s.lateSender.close()
	s.changed.tell()
	if err := link.AwaitTasks(ctx, &s.tasks); err != nil {
		return fmt.Errorf("close RabbitMQ sink: %w", err)
	}
	return nil
}
