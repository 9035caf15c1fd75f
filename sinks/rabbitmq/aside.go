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

// asideLook is how often the waiting messages are looked at if nothing changes.
const asideLook = 100 * time.Millisecond

var errMainLost = errors.New("the connection of the other topics was lost")

// aside holds the messages of late topics, and writes them to a connection of their
// own, a few at a time. Further messages are postponed. One goroutine writes.
type aside struct {
	sink   *Sink
	lanes  []*lane
	topics map[string]int // by late topic: its lane, once a message was written; only run uses it
	link   *link.Link[*session]
	wake   chan struct{} // holds one: there is something to do

	mu     sync.Mutex
	held   []held
	losses losses
	closed bool
}

// held is a message that waits for its turn. It counts as one of its topic's few
// messages.
type held struct {
	item
	since time.Time
}

func newAside(s *Sink, servers string) *aside {
	a := &aside{sink: s, topics: make(map[string]int), wake: make(chan struct{}, 1), losses: newLosses()}
	a.link = link.New[*session](link.Options{
		Broker: "RabbitMQ, for late topics,", Servers: servers, Logger: s.options.Logger, Changed: s.changed.tell,
	})
	for i := range asideChannels {
		a.lanes = append(a.lanes, &lane{
			sink: s, kind: lateLane, number: i, window: asideWindow, encoder: newEncoder(), aside: a,
		})
	}
	return a
}

// put takes a message, or postpones it if enough messages of its topic, or of all late
// topics, wait already. It does not block.
func (a *aside) put(it item) {
	topic := it.message.Topic
	switch late, taken := a.sink.late.take(topic); {
	case !late: // the topic works again
		a.sink.laneOf(it.message).put(it)
	case !taken:
		it.done(crowds(topic))
	case !a.hold(it):
		a.sink.late.release(topic)
		it.reportNotTaken(relay.ErrorTypeDisconnected, errClosing)
	default:
		a.tell()
	}
}

// hold keeps a message. It returns false once nothing more is written.
func (a *aside) hold(it item) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.closed {
		a.held = append(a.held, held{it, time.Now()})
	}
	return !a.closed
}

func (a *aside) tell() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// close makes run end.
func (a *aside) close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.tell()
}

// run writes what is held until close.
func (a *aside) run() {
	tick := time.NewTicker(asideLook)
	defer tick.Stop()
	for {
		next := a.sink.changed.next() // before the look at what may change
		if a.turn(time.Now()) {
			return
		}
		select {
		case <-a.wake:
		case <-next:
		case <-tick.C:
		}
	}
}

// turn deals with each message that is held. It returns true if none is left and none
// will come.
func (a *aside) turn(now time.Time) (ended bool) {
	a.mu.Lock()
	all, closed := a.held, a.closed
	a.held = nil
	a.losses.turnBegins()
	a.mu.Unlock()
	a.forgetLanes()
	sess, _ := a.link.Current()
	var left []held
	for i := range all {
		h := &all[i]
		switch a.deal(sess, h, now) {
		case heldWaits:
			left = append(left, *h)
		case heldGone:
			a.sink.late.release(h.message.Topic)
		case heldWritten: // it counts until the broker has confirmed it
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.held = append(left, a.held...)
	return closed && len(a.held) == 0
}

// laneOf returns the lane of a late topic. As long as there are few late topics, each
// has a lane of its own.
func (a *aside) laneOf(topic string) *lane {
	if n, known := a.topics[topic]; known {
		return a.lanes[n]
	}
	var taken [asideChannels]int
	for _, n := range a.topics {
		taken[n]++
	}
	least := 0
	for n := range taken {
		if taken[n] < taken[least] {
			least = n
		}
	}
	a.topics[topic] = least
	return a.lanes[least]
}

// forgetLanes forgets the lanes of topics that are not late any more.
func (a *aside) forgetLanes() {
	if len(a.topics) > 0 {
		maps.DeleteFunc(a.topics, func(topic string, _ int) bool { return !a.sink.late.has(topic) })
	}
}

// dealt is what became of a message that was held.
type dealt uint8

const (
	heldWaits   dealt = iota
	heldGone          // reported, or given to another lane
	heldWritten       // the channel's follower has it
)

var dealtNames = [...]string{"waits", "gone", "written"}

// String returns it in lower case.
func (d dealt) String() string { return dealtNames[d] }

// deal writes the message, reports it, gives it to another lane, or makes it wait.
func (a *aside) deal(sess *session, h *held, now time.Time) dealt {
	s, topic := a.sink, h.message.Topic
	main, err := s.link.Current()
	switch {
	case s.closing.Load():
		h.reportNotTaken(relay.ErrorTypeDisconnected, errClosing)
	case main == nil: // no topic can be published
		h.reportNotTaken(relay.ErrorTypeDisconnected, err)
	case main.obstacle() != nil:
		h.reportNotTaken(relay.ErrorTypeNotReady, main.obstacle())
	case s.suspects.has(topic):
		s.suspectLane().put(h.item)
	case !s.late.has(topic): // the topic works again
		s.laneOf(h.message).put(h.item)
	case now.Sub(h.since) >= s.options.AckTimeout && !a.isDue(h.message.Ref):
		h.done(crowds(topic))
	case sess == nil || sess.obstacle() != nil || sess.socket.full():
		return heldWaits
	default:
		return a.write(sess, h)
	}
	return heldGone
}

// isDue returns whether the message is a suspect that waits only for the messages in
// flight. Such a message may wait longer than its time: messages of stopped queues are
// in flight for their whole time, so it would never get its turn otherwise.
func (a *aside) isDue(r relay.Ref) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.losses.isDue(r)
}

// waits returns whether the message has to wait, because it has to be alone on the
// connection, or because another message has to.
func (a *aside) waits(r relay.Ref) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.losses.waits(r)
}

// write writes the message, if its channel takes it now.
func (a *aside) write(sess *session, h *held) dealt {
	l := a.laneOf(h.message.Topic)
	ch := sess.channel(l.number)
	if a.waits(h.message.Ref) || ch == nil || ch.full() || ch.busy() {
		return heldWaits
	}
	if bad := validate(h.message, limits{payload: a.sink.MaxMessageBytes(), frame: sess.frame}); bad != nil {
		h.done(relay.RejectedOutcome(bad))
		return heldGone
	}
	a.mu.Lock()
	may := a.losses.begin(h.message.Ref)
	a.mu.Unlock()
	if !may {
		return heldWaits
	}
	it, report := h.item, h.report
	it.report = func(m *relay.Message, o relay.Outcome) {
		a.mu.Lock()
		a.losses.end(m.Ref, o.Class)
		a.mu.Unlock()
		a.tell()
		report(m, o)
	}
	if l.write(sess, ch, &it) {
		return heldWritten
	}
	if it.sent && sess.conn.IsClosed() {
		// The broker may have it, and it may be what has ended the connection.
		<-sess.down
		sess.reportLost(l, []entry{{item: it, topic: it.message.Topic}})
		return heldGone
	}
	h.sent = it.sent
	a.mu.Lock()
	a.losses.withdraw()
	a.mu.Unlock()
	return heldWaits
}

// reportLost reports what was in flight when this connection of the late topics ended,
// and the main connection did not. That counts no attempt, unless a message was alone.
func (a *aside) reportLost(of *session, left []entry, why error) {
	a.mu.Lock()
	guilty := a.losses.lost(of, left)
	a.mu.Unlock()
	for _, e := range left {
		if !guilty {
			e.done(asideLost(e.topic, why))
			continue
		}
		ref := e.message.Ref
		e.done(killsConnections(e.topic, why))
		a.mu.Lock()
		a.losses.blame(ref)
		a.mu.Unlock()
	}
}

// cut ends the connection of the late topics, because after a loss the relay waits for
// all outcomes before it goes on.
func (a *aside) cut(cause error) {
	if sess, _ := a.link.Current(); sess != nil {
		sess.cut(cause)
	}
}

// asideBroker makes the connection for late topics. It makes none while there are no
// late topics.
type asideBroker struct {
	*broker
	aside *aside
}

// Connect implements [link.Broker].
func (b *asideBroker) Connect(ctx context.Context) (*session, error) {
	select {
	case <-b.sink.late.some:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	sess, err := b.connect(ctx, b.aside.lanes)
	if err != nil {
		b.sink.late.remind()
	}
	return sess, err
}

// Describe implements [link.Broker].
func (b *asideBroker) Describe(s *session) []slog.Attr { return b.broker.Describe(s) }

// Serve implements [link.Broker].
func (b *asideBroker) Serve(ctx context.Context, s *session) error {
	s.watch(ctx)
	b.sink.late.remind()
	return s.lost()
}

// End implements [link.Broker].
func (b *asideBroker) End(s *session) { s.end() }
