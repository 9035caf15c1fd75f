package rabbitmq

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
)

// lateLook is how often the waiting messages are looked at if nothing changes.
const lateLook = 100 * time.Millisecond

var errMainLost = errors.New("the connection of the other topics was lost")

// lateSender keeps the messages of late topics, and writes them to a connection of their
// own, a few at a time. Further messages are postponed. One goroutine writes.
type lateSender struct {
	sink    *Sink
	writers []*writer
	topics  map[string]int // by late topic: its writer, once a message was written; only run uses it
	link    *link.Link[*session]
	wake    chan struct{} // holds one: there is something to do

	mu     sync.Mutex
	queue  []queued
	losses losses
	closed bool
}

// queued is a message that waits for its turn. It counts as one of its topic's few
// messages.
type queued struct {
	item
	since time.Time
}

func newLateSender(s *Sink, servers string) *lateSender {
	l := &lateSender{sink: s, topics: make(map[string]int), wake: make(chan struct{}, 1), losses: newLosses()}
	l.link = link.New[*session](link.Options{
		Broker: "RabbitMQ, for late topics,", Servers: servers, Logger: s.options.Logger, Changed: s.changed.tell,
	})
	for i := range lateChannels {
		l.writers = append(l.writers, &writer{
			sink: s, kind: lateWriter, number: i, window: lateWindow, encoder: newEncoder(), lateSender: l,
		})
	}
	return l
}

// put takes a message, or postpones it if enough messages of its topic, or of all late
// topics, wait already. It does not block.
func (l *lateSender) put(it item) {
	topic := it.message.Topic
	switch late, taken := l.sink.late.take(topic); {
	case !late: // the topic works again
		l.sink.writerOf(it.message).put(it)
	case !taken:
		it.done(crowds(topic))
	case !l.keep(it):
		l.sink.late.release(topic)
		it.reportNotTaken(relay.ErrorTypeDisconnected, errClosing)
	default:
		l.tell()
	}
}

// keep queues a message. It returns false once nothing more is written.
func (l *lateSender) keep(it item) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.queue = append(l.queue, queued{it, time.Now()})
	}
	return !l.closed
}

func (l *lateSender) tell() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// close makes run end.
func (l *lateSender) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.tell()
}

// run writes what is queued until close.
func (l *lateSender) run() {
	tick := time.NewTicker(lateLook)
	defer tick.Stop()
	for {
		next := l.sink.changed.next() // before the look at what may change
		if l.turn(time.Now()) {
			return
		}
		select {
		case <-l.wake:
		case <-next:
		case <-tick.C:
		}
	}
}

// turn deals with each message that is queued. It returns true if none is left and none
// will come.
func (l *lateSender) turn(now time.Time) (ended bool) {
	l.mu.Lock()
	all, closed := l.queue, l.closed
	l.queue = nil
	l.losses.turnBegins()
	l.mu.Unlock()
	l.forgetWriters()
	sess, _ := l.link.Current()
	var left []queued
	for i := range all {
		q := &all[i]
		switch l.deal(sess, q, now) {
		case dealtWaits:
			left = append(left, *q)
		case dealtGone:
			l.sink.late.release(q.message.Topic)
		case dealtWritten: // it counts until the broker has confirmed it
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue = append(left, l.queue...)
	return closed && len(l.queue) == 0
}

// writerOf returns the writer of a late topic. As long as there are few late topics, each
// has a writer of its own.
func (l *lateSender) writerOf(topic string) *writer {
	if n, known := l.topics[topic]; known {
		return l.writers[n]
	}
	var taken [lateChannels]int
	for _, n := range l.topics {
		taken[n]++
	}
	least := 0
	for n := range taken {
		if taken[n] < taken[least] {
			least = n
		}
	}
	l.topics[topic] = least
	return l.writers[least]
}

// forgetWriters forgets the writers of topics that are not late any more.
func (l *lateSender) forgetWriters() {
	if len(l.topics) > 0 {
		maps.DeleteFunc(l.topics, func(topic string, _ int) bool { return !l.sink.late.has(topic) })
	}
}

// dealt is what became of a message that was queued.
type dealt uint8

const (
	dealtWaits   dealt = iota
	dealtGone          // reported, or given to another writer
	dealtWritten       // the channel's follower has it
)

var dealtNames = [...]string{"waits", "gone", "written"}

// String returns it in lower case.
func (d dealt) String() string { return dealtNames[d] }

// deal writes the message, reports it, gives it to another writer, or makes it wait.
func (l *lateSender) deal(sess *session, q *queued, now time.Time) dealt {
	s, topic := l.sink, q.message.Topic
	main, err := s.link.Current()
	switch {
	case s.closing.Load():
		q.reportNotTaken(relay.ErrorTypeDisconnected, errClosing)
	case main == nil: // no topic can be published
		q.reportNotTaken(relay.ErrorTypeDisconnected, err)
	case main.obstacle() != nil:
		q.reportNotTaken(relay.ErrorTypeNotReady, main.obstacle())
	case s.suspects.has(topic):
		s.suspectWriter().put(q.item)
	case !s.late.has(topic): // the topic works again
		s.writerOf(q.message).put(q.item)
	case now.Sub(q.since) >= s.options.AckTimeout && !l.isDue(q.message.Ref):
		q.done(crowds(topic))
	case sess == nil || sess.obstacle() != nil || sess.socket.full():
		return dealtWaits
	default:
		return l.write(sess, q)
	}
	return dealtGone
}

// isDue returns whether the message is a suspect that waits only for the messages in
// flight. Such a message may wait longer than its time: messages of stopped queues are
// in flight for their whole time, so it would never get its turn otherwise.
func (l *lateSender) isDue(r relay.Ref) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.losses.isDue(r)
}

// waits returns whether the message has to wait, because it has to be alone on the
// connection, or because another message has to.
func (l *lateSender) waits(r relay.Ref) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.losses.waits(r)
}

// write writes the message, if its channel takes it now.
func (l *lateSender) write(sess *session, q *queued) dealt {
	w := l.writerOf(q.message.Topic)
	ch := sess.channel(w)
	if l.waits(q.message.Ref) || ch == nil || ch.full() || ch.busy() {
		return dealtWaits
	}
	if bad := validate(q.message, limits{payload: l.sink.MaxMessageBytes(), frame: sess.frame}); bad != nil {
		q.done(relay.RejectedOutcome(bad))
		return dealtGone
	}
	l.mu.Lock()
	may := l.losses.begin(q.message.Ref)
	l.mu.Unlock()
	if !may {
		return dealtWaits
	}
	it, report := q.item, q.report
	it.report = func(m *relay.Message, o relay.Outcome) {
		l.mu.Lock()
		l.losses.end(m.Ref, o.Class)
		l.mu.Unlock()
		l.tell()
		report(m, o)
	}
	if w.write(sess, ch, &it) {
		return dealtWritten
	}
	if it.sent && sess.conn.IsClosed() {
		// The broker may have it, and it may be what has ended the connection.
		<-sess.down
		sess.reportLost(w, []entry{{item: it, topic: it.message.Topic}})
		return dealtGone
	}
	q.sent = it.sent
	l.mu.Lock()
	l.losses.withdraw()
	l.mu.Unlock()
	return dealtWaits
}

// reportLost reports what was in flight when this connection of the late topics ended,
// and the main connection did not. That counts no attempt, unless a message was alone.
func (l *lateSender) reportLost(of *session, left []entry, why error) {
	l.mu.Lock()
	guilty := l.losses.lost(of, left)
	l.mu.Unlock()
	for _, e := range left {
		if !guilty {
			e.done(lateConnectionLost(e.topic, why))
			continue
		}
		ref := e.message.Ref
		e.done(killsConnections(e.topic, why))
		l.mu.Lock()
		l.losses.blame(ref)
		l.mu.Unlock()
	}
}

// cut ends the connection of the late topics, because after a loss the relay waits for
// all outcomes before it goes on.
func (l *lateSender) cut(cause error) {
	if sess, _ := l.link.Current(); sess != nil {
		sess.cut(cause)
	}
}

// lateBroker makes the connection for late topics. It makes none while there are no
// late topics.
type lateBroker struct {
	*broker
	lateSender *lateSender
}

// Connect implements [link.Broker].
func (b *lateBroker) Connect(ctx context.Context) (*session, error) {
	select {
	case <-b.sink.late.some:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	sess, err := b.connect(ctx, b.lateSender.writers)
	if err != nil {
		b.sink.late.remind()
	}
	return sess, err
}

// Describe implements [link.Broker].
func (b *lateBroker) Describe(s *session) []slog.Attr { return b.broker.Describe(s) }

// Serve implements [link.Broker].
func (b *lateBroker) Serve(ctx context.Context, s *session) error {
	s.watch(ctx)
	b.sink.late.remind()
	return s.lost()
}

// End implements [link.Broker].
func (b *lateBroker) End(s *session) { s.end() }
