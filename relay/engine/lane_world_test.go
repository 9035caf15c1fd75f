package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// laneWorld is a table, a broker and the relay between them, told in the dumbest way:
// a list of rows, and for each connection a list of messages of which the broker
// takes the next one, or refuses it, or is cut off.
type laneWorld struct {
	*testing.T
	relay.Control
	rand  *rand.Rand
	calm  bool // nothing fails any more
	loose bool // lanes are not strict
	trace []string

	rows []*worldRow // row id is at id-1

	conn    *worldConn
	zombies []*worldConn  // of earlier terms: what was written may still be taken
	lanes   [2]relay.Lane // by topic
	number  uint64
	down    bool

	term     *term
	relay    *Relay
	wake     *time.Timer
	asked    *readResult // answer to the statement that is out
	isProbed bool
}

type worldRow struct {
	id                         int64
	key, topic                 string
	sent, dead, stored, failed bool
	attempts                   int
	due                        time.Time
}

// worldConn is a connection of the sink.
type worldConn struct {
	relay.Sink
	world *laneWorld
	sent  []*worldMessage
	ended map[uint64]bool // lanes
}

type worldMessage struct {
	row     *worldRow
	lane    relay.Lane
	report  func(relay.Outcome)
	outcome relay.Class // 0 while the broker has not dealt with it
}

func newLaneWorld(t *testing.T, seed uint64) *laneWorld {
	w := &laneWorld{T: t, rand: rand.New(rand.NewPCG(seed, 2)), loose: seed%3 == 0}
	w.connect()
	w.lead()
	return w
}

func (w *laneWorld) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf(format, args...))
}

func (w *laneWorld) oneIn(n int) bool { return w.rand.IntN(n) == 0 }

// connect makes a connection. No lane outlives the last one.
func (w *laneWorld) connect() {
	w.conn = &worldConn{world: w, ended: map[uint64]bool{}}
	for i := range w.lanes {
		w.newLane(i)
	}
}

func (w *laneWorld) newLane(i int) {
	w.number++
	w.lanes[i] = relay.Lane{Number: w.number, Strict: !w.loose}
}

// lead begins a term. What the last one has written may still reach the broker.
func (w *laneWorld) lead() {
	config := Config{
		Sink: worldSink{w}, Logger: slog.New(slog.DiscardHandler), PollInterval: 50 * time.Millisecond,
		Limits: Limits{MaxInFlight: 12, KeyWindow: 3, BufferBytes: 1 << 20}, Retry: Backoff{Min: time.Millisecond, Max: time.Second}, openWindow: true,
	}
	w.relay = New(config)
	w.term, w.asked, w.isProbed = newTerm(w.relay, w), nil, false
	w.term.dispatcher.chain = 6
	w.wake = time.NewTimer(time.Hour)
	w.term.openBreaker("", nil)
}

// worldSink is the sink, whatever its connection.
type worldSink struct{ *laneWorld }

func (s worldSink) MaxMessageBytes() int64                                   { return 0 }
func (s worldSink) Probe(context.Context) error                              { return nil }
func (s worldSink) Close(context.Context) error                              { return nil }
func (s worldSink) Publish(m *relay.Message, r relay.Report)                 { s.publish(relay.Lane{}, m, r) }
func (s worldSink) PublishIn(l relay.Lane, m *relay.Message, r relay.Report) { s.publish(l, m, r) }

// Flush ends a lane, now and then: what follows goes in another one, and what was handed
// over for it stays good.
func (s worldSink) Flush() {
	if i := s.rand.IntN(6); i < len(s.lanes) {
		s.newLane(i)
	}
}

// Lane: two topics have a lane each, the third none.
func (s worldSink) Lane(m *relay.Message) relay.Lane {
	if i := int(m.Topic[0] - '0'); i < len(s.lanes) {
		return s.lanes[i]
	}
	return relay.Lane{}
}

func (w *laneWorld) publish(l relay.Lane, m *relay.Message, report relay.Report) {
	w.note("publish %d in %d", m.ID, l.Number)
	if w.down {
		report(m, relay.UnavailableOutcome(relay.ErrorTypeNotReady, errors.New("made up")))
		return
	}
	sent := &worldMessage{row: w.rows[m.ID-1], lane: l, report: func(o relay.Outcome) { report(m, o) }}
	if w.conn.ended[l.Number] {
		sent.outcome = relay.Withdrawn
	}
	w.conn.sent = append(w.conn.sent, sent)
}

// take has the broker deal with the next message of a connection.
func (w *laneWorld) take(c *worldConn) {
	i := slices.IndexFunc(c.sent, func(m *worldMessage) bool { return m.outcome == 0 })
	if i < 0 {
		return
	}
	m := c.sent[i]
	switch {
	case c.ended[m.lane.Number]:
		m.outcome = relay.Withdrawn
	case !w.calm && w.oneIn(8):
		w.note("refused %d", m.row.id)
		m.outcome = relay.Refused
		m.row.failed = true
		if m.lane.Strict {
			w.endLane(c, m.lane)
		}
	default:
		m.outcome = relay.Acknowledged
		w.store(m.row)
	}
}

// store is where the promise is kept or broken.
func (w *laneWorld) store(r *worldRow) {
	w.note("stored %d of %s", r.id, r.key)
	for _, before := range w.rows[:r.id-1] {
		allowed := before.key != r.key || r.key == "" || before.stored || before.dead || w.loose && before.failed
		if !allowed && !r.stored {
			w.Fatalf("row %d of key %s is delivered before row %d:\n%s", r.id, r.key, before.id, strings.Join(w.trace, "\n"))
		}
	}
	r.stored = true
}

// endLane ends a lane. What the broker has not dealt with is given back; where the lane
// is not strict also what it has, now and then.
func (w *laneWorld) endLane(c *worldConn, l relay.Lane) {
	w.note("lane %d ends", l.Number)
	if l.Number == 0 {
		return
	}
	c.ended[l.Number] = true
	for _, m := range c.sent {
		if m.lane == l && (m.outcome == 0 || m.outcome == relay.Acknowledged && !l.Strict && w.oneIn(2)) {
			m.outcome = relay.Withdrawn
		}
	}
	if i := slices.Index(w.lanes[:], l); i >= 0 {
		w.newLane(i)
	}
}

// tell reports one outcome: of a strict lane the first one.
func (w *laneWorld) tell() {
	var may []int
	first := map[uint64]bool{}
	for i, m := range w.conn.sent {
		if m.lane.Strict && first[m.lane.Number] {
			continue
		}
		first[m.lane.Number] = true
		if m.outcome != 0 {
			may = append(may, i)
		}
	}
	if len(may) == 0 {
		return
	}
	i := may[w.rand.IntN(len(may))]
	m := w.conn.sent[i]
	w.conn.sent = slices.Delete(w.conn.sent, i, i+1)
	w.note("told %d: %v", m.row.id, m.outcome)
	m.report(relay.Outcome{Class: m.outcome, Err: errors.New("made up")})
}

// lose cuts the connection: of what was written the broker takes a first part.
func (w *laneWorld) lose() {
	w.note("lost")
	lost := w.conn
	for range w.rand.IntN(4) {
		w.take(lost)
	}
	w.connect()
	for _, m := range lost.sent {
		o := relay.Unknown
		if m.outcome == relay.Withdrawn {
			o = relay.Withdrawn
		}
		m.report(relay.Outcome{Class: o, Err: errors.New("made up")})
	}
}

// turn does what the loop does until nothing is left to do.
func (w *laneWorld) turn() {
	t := w.term
	for range 1000 {
		t.advance(w.wake)
		select {
		case req := <-t.reader.session.requests:
			w.asked = w.answer(req)
		case <-t.prober.requests:
			w.isProbed = true
		case <-t.reports.ready:
			t.takeReports()
		case <-t.marker.changed:
		case <-t.marker.settled.ready:
			for _, s := range t.marker.settled.take() {
				t.settle(s)
			}
		default:
			if !t.dispatcher.valid() || !t.holds.valid() || !t.taken.valid() {
				w.Fatalf("what is written at the fields does not hold:\n%s", strings.Join(w.trace, "\n"))
			}
			return
		}
	}
	w.Fatal("the loop turns for ever")
}

// probe answers the probe, once the sink has reported everything, as the prober does.
func (w *laneWorld) probe() {
	if w.isProbed && w.relay.withSink.Load() == 0 {
		w.isProbed, w.down = false, false
		w.term.probed(nil)
	}
}

// insert commits a row.
func (w *laneWorld) insert() {
	r := &worldRow{id: int64(len(w.rows) + 1), key: []string{"a", "a", "a", "b", "c", ""}[w.rand.IntN(6)], topic: "0"}
	if w.oneIn(6) {
		r.topic = []string{"1", "2"}[w.rand.IntN(2)]
	}
	w.rows = append(w.rows, r)
}
