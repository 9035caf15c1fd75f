package rabbitmq

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
)

const (
	// asideWindow is below the number of unconfirmed messages at which RabbitMQ stops to
	// read a channel, and then the connection (quorum_commands_soft_limit, 32). So this
	// connection never stops, however many queues do.
	asideWindow = 24
	// asidePerTopic is how many of these may be of one topic, so that a topic that is
	// never confirmed leaves room for others. Its late confirms are heard: with the first
	// of them its next message goes.
	asidePerTopic = 4
	// asideShare is the share of the relay's window that may wait here, and asideBytes
	// bounds the payloads. More would stop the other topics.
	asideShare = 8
	asideBytes = 4 << 20
	// asideLook is how often the waiting messages are looked at if nothing changes.
	asideLook = 100 * time.Millisecond
)

var errMainLost = errors.New("the connection of the other topics was lost")

// aside holds the messages of late topics, and writes them to a connection of their own,
// a few at a time. A message that has waited here for as long as one may wait for its
// confirm is refused, as it would be if it had been written. One goroutine writes.
type aside struct {
	sink *Sink
	lane *lane
	link *link.Link[*session]
	wake chan struct{} // holds one: there is something to do

	mu     sync.Mutex
	held   []held
	count  int // of held, and of those that run looks at
	bytes  int // of their payloads
	closed bool
}

// held is a message that waits for its turn.
type held struct {
	item
	since time.Time
	size  int // of its payload, which is gone when it is reported
}

func newAside(s *Sink, servers string) *aside {
	a := &aside{sink: s, wake: make(chan struct{}, 1)}
	a.link = link.New[*session](link.Options{
		Broker: "RabbitMQ, for late topics,", Servers: servers, Logger: s.options.Logger, Changed: s.changed.tell,
	})
	a.lane = &lane{sink: s, kind: lateLane, window: asideWindow, encoder: newEncoder(), aside: a}
	return a
}

// put takes a message, or refuses it if too many wait already. It does not block.
func (a *aside) put(it item) {
	a.mu.Lock()
	closed := a.closed
	size := len(it.message.Payload)
	full := a.count >= max(1, a.sink.options.Window/asideShare) || a.count > 0 && a.bytes+size > asideBytes
	if !closed && !full {
		a.held = append(a.held, held{it, time.Now(), size})
		a.count, a.bytes = a.count+1, a.bytes+size
	}
	a.mu.Unlock()
	switch {
	case closed:
		it.reportNotTaken(relay.ErrorTypeDisconnected, errClosing)
	case full:
		it.done(crowds(it.message.Topic))
	default:
		a.tell()
	}
}

func (a *aside) tell() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// close has run end.
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
		ch, closed := a.turn(time.Now())
		if closed {
			return
		}
		var room chan struct{}
		if ch != nil {
			room = ch.room
		}
		select {
		case <-a.wake:
		case <-next:
		case <-room:
		case <-tick.C:
		}
	}
}

// turn deals with each message that is held: it is written, reported, given back to
// another lane, or goes on waiting. It returns the channel, if there is one.
func (a *aside) turn(now time.Time) (*channel, bool) {
	a.mu.Lock()
	all, closed := a.held, a.closed
	a.held = nil
	a.mu.Unlock()
	sess, _ := a.link.Current()
	var ch *channel
	if sess != nil {
		ch = sess.channel(a.lane.number)
	}
	var left []held
	for _, h := range all {
		if !a.deal(sess, ch, h, now) {
			left = append(left, h)
			continue
		}
		a.mu.Lock()
		a.count, a.bytes = a.count-1, a.bytes-h.size
		a.mu.Unlock()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.held = append(left, a.held...)
	return ch, closed && len(a.held) == 0
}

// deal returns false if the message goes on waiting.
func (a *aside) deal(sess *session, ch *channel, h held, now time.Time) bool {
	s, topic := a.sink, h.message.Topic
	main, err := s.link.Current()
	switch {
	case s.closing.Load():
		h.reportNotTaken(relay.ErrorTypeDisconnected, errClosing)
		return true
	case main == nil: // no topic can be published
		h.reportNotTaken(relay.ErrorTypeDisconnected, err)
		return true
	case main.obstacle() != nil:
		h.reportNotTaken(relay.ErrorTypeNotReady, main.obstacle())
		return true
	case s.suspects.has(topic):
		s.suspectLane().put(h.item)
		return true
	case !s.late.has(topic): // it works again
		s.laneOf(h.message).put(h.item)
		return true
	case now.Sub(h.since) >= s.options.AckTimeout:
		h.done(crowds(topic))
		return true
	case sess == nil || ch == nil || sess.obstacle() != nil || sess.socket.full() || ch.full() || ch.busy() || ch.owes(topic) >= asidePerTopic:
		return false
	}
	if bad := validate(h.message, limits{payload: s.MaxMessageBytes(), frame: sess.frame}); bad != nil {
		h.done(relay.RejectedOutcome(bad))
		return true
	}
	return a.lane.write(sess, ch, &h.item)
}

// cut ends the connection of the late topics. The relay waits for all outcomes before it
// goes on after a loss.
func (a *aside) cut(cause error) {
	if sess, _ := a.link.Current(); sess != nil {
		sess.cut(cause)
	}
}

// asideBroker connects the late topics. It makes no connection before there are some.
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
	sess, err := b.connect(ctx, []*lane{b.aside.lane})
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
