package engine

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// Whatever happens to lanes, connections and leaders, and in whatever order, the rows of
// a key are first delivered in their order, and all are delivered. A real term is
// stepped, without a goroutine, on a clock that stands still but for the command to go
// on.
func TestOrderHoldsInRandomSchedules(t *testing.T) {
	schedules := 10_000
	if testing.Short() {
		schedules = 1000
	}
	synctest.Test(t, func(t *testing.T) {
		for seed := range uint64(schedules) {
			w := newLaneWorld(t, seed)
			w.note("seed %d", seed)
			w.run()
		}
	})
}

// run has things happen by lot, and then has everything go well to the end.
func (w *laneWorld) run() {
	for range 40 + w.rand.IntN(80) {
		w.happen(w.rand.IntN(100))
		w.turn()
	}
	w.calm = true
	for range 3000 {
		if w.finished() {
			return
		}
		w.read()
		for range 4 {
			w.takeAny()
			w.tell()
		}
		w.probe()
		w.write()
		w.pass(20 * time.Millisecond)
		w.turn()
	}
	w.Fatalf("rows are left: %v", w.trace)
}

// pass moves the fake clock on, by which rows that were refused become due.
func (w *laneWorld) pass(d time.Duration) { <-time.After(d) }

func (w *laneWorld) happen(lot int) {
	switch {
	case lot < 20:
		w.insert()
	case lot < 45:
		w.takeAny()
	case lot < 65:
		w.tell()
	case lot < 77:
		w.read()
	case lot < 85:
		w.write()
	case lot < 91:
		w.pass(time.Duration(w.rand.IntN(100)) * time.Millisecond)
	case lot < 94:
		w.probe()
	case lot < 96:
		w.endLane(w.conn, w.lanes[w.rand.IntN(2)])
	case lot < 98:
		w.lose()
	case lot < 99:
		w.down = true
	default:
		w.changeLeader()
	}
}

func (w *laneWorld) finished() bool {
	for _, r := range w.rows {
		if !r.sent && !r.dead {
			return false
		}
		if !r.stored && !r.dead {
			w.Fatalf("row %d is lost:\n%v", r.id, w.trace)
		}
	}
	return true
}

// takeAny has the broker deal with the next message of one of the connections.
func (w *laneWorld) takeAny() {
	conns := append([]*worldConn{w.conn}, w.zombies...)
	w.take(conns[w.rand.IntN(len(conns))])
}

// changeLeader ends the term without a word. Its messages are still on their way.
func (w *laneWorld) changeLeader() {
	w.note("another leader")
	w.zombies = append(w.zombies, w.conn)
	w.connect()
	w.lead()
}

// answer has the table answer a statement as it is now.
func (w *laneWorld) answer(req readRequest) *readResult {
	if req.kind == beginPass {
		return &readResult{kind: beginPass, pass: relay.Pass{Bound: int64(len(w.rows)), Start: time.Now()}}
	}
	q, c := req.chunk, relay.Chunk{Done: true}
	for _, r := range w.rows {
		switch {
		case r.id <= q.After || r.id > q.Pass.Bound || r.sent || r.dead,
			q.OnlyKey != nil && r.key != *q.OnlyKey, slices.Contains(q.ExcludeKeys, r.key):
			continue
		case len(c.Rows) == q.Rows:
			c.Done = false
			continue
		}
		m := &relay.Message{Ref: relay.Ref{ID: r.id}, Topic: r.topic, Key: r.key, Keyed: r.key != "", Size: 1, Attempts: r.attempts}
		c.Rows = append(c.Rows, relay.Row{Message: m, Wait: max(0, r.due.Sub(q.Pass.Start))})
		c.Cursor = r.id
	}
	return &readResult{kind: req.kind, chunk: c}
}

// read has the answer arrive.
func (w *laneWorld) read() {
	if res := w.asked; res != nil {
		w.asked = nil
		if err := w.term.answered(*res); err != nil {
			w.Fatal(err)
		}
	}
}

// write has the marker write, and find some rows locked.
func (w *laneWorld) write() {
	k := w.term.marker
	k.take()
	for worked := true; worked; {
		var err error
		if worked, err = k.work(w.Context(), time.Now()); err != nil {
			w.Fatal(err)
		}
	}
	k.tell()
}

func (w *laneWorld) Mark(_ context.Context, marks []relay.Mark) ([]relay.Ref, error) {
	var marked []relay.Ref
	for _, m := range marks {
		if w.calm || !w.oneIn(10) {
			w.rows[m.ID-1].sent = true
			marked = append(marked, m.Ref)
		}
	}
	return marked, nil
}

func (w *laneWorld) Refuse(_ context.Context, _ relay.AttemptLimit, refusals []relay.Refusal) ([]relay.Verdict, error) {
	var verdicts []relay.Verdict
	for _, refusal := range refusals {
		r := w.rows[refusal.ID-1]
		r.attempts++
		r.due = time.Now().Add(time.Duration(w.rand.IntN(200)) * time.Millisecond)
		v := relay.Verdict{Ref: refusal.Ref, Fate: relay.Waiting, Attempts: r.attempts}
		if r.dead = r.attempts > 4; r.dead {
			v.Fate = relay.Dead
		}
		verdicts = append(verdicts, v)
	}
	return verdicts, nil
}

func (w *laneWorld) Blockers(context.Context, []relay.Ref) ([]relay.Blocker, error) { return nil, nil }
