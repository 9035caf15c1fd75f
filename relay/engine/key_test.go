package engine_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/engine"
)

// The head of a key is refused while a pass is reading, and the pass has rows of
// the key still before it. (Rule 5: holds.)
func TestHeadRefusedWhileAPassRunsKeepsItsKeyWaiting(t *testing.T) {
	h := start(t, func(c *engine.Config) { c.MaxInFlight = 4 }, func(h *harness) { h.sink.hold() })
	head := h.insertKeyed("K")
	h.insert(30)
	follower := h.insertKeyed("K")
	refused := false
	h.sink.spoil = func(m *relay.Message, o relay.Outcome) relay.Outcome {
		if m.ID == head && !refused {
			refused = true
			return relay.Outcome{Class: relay.Refused, Type: relay.ErrorTypeFull, Err: errors.New("refused by the test")}
		}
		return o
	}
	h.run()
	h.until("the window is full", func() bool { return h.sink.holding() == 4 })
	h.sink.letGo()

	h.untilMarked(32)
	ids := h.sink.ids()
	if n := count(ids, head); n != 2 {
		t.Fatalf("the refused head was published %d times, want 2", n)
	}
	if slices.Index(ids, follower) < lastIndex(ids, head) {
		t.Fatalf("row %d overtook row %d of its key, which had been refused: %v", follower, head, ids)
	}
	if attempts := h.int("SELECT attempts FROM " + h.table + fmt.Sprintf(" WHERE id = %d", head)); attempts != 1 {
		t.Fatalf("attempts = %d after one refusal, want 1", attempts)
	}
}

// A broker that refuses everything keeps the heads of the keys waiting in the
// table, and their followers never overtake them, also not after a restart.
// (Rule 5: a head waiting for its retry renews the hold.)
func TestWaitingHeadHoldsItsKeyAfterARestart(t *testing.T) {
	h := start(t, func(c *engine.Config) { c.Retry = engine.Backoff{Min: time.Hour, Max: time.Hour} }, nil)
	var mu sync.Mutex
	refuse := true
	h.sink.spoil = func(_ *relay.Message, o relay.Outcome) relay.Outcome {
		mu.Lock()
		defer mu.Unlock()
		if refuse {
			return relay.Outcome{Class: relay.Refused, Type: relay.ErrorTypeFull, Err: errors.New("refused by the test")}
		}
		return o
	}
	head := h.insertKeyed("K")
	stop := h.run()
	h.until("the head waits", func() bool {
		return h.int("SELECT count(*) FROM "+h.table+" WHERE attempts = 1 AND available_at > now()") == 1
	})
	stop()
	mu.Lock()
	refuse = false
	mu.Unlock()
	follower := h.insertKeyed("K")
	other := h.insertKeyed("L")
	h.run()
	h.until("the other key flows", func() bool { return slices.Contains(h.sink.ids(), other) })
	h.untilMarked(1)
	if slices.Contains(h.sink.ids(), follower) {
		t.Fatal("the follower of a row that waits for its retry was published after a restart")
	}
	h.exec(fmt.Sprintf("UPDATE %s SET available_at = now() WHERE id = %d", h.table, head))
	h.untilMarked(3)
	if ids := h.sink.ids(); slices.Index(ids, follower) < lastIndex(ids, head) {
		t.Fatalf("published %v: row %d overtook row %d", ids, follower, head)
	}
}

// A chain that is longer than its cap becomes a hold, and nothing of the key is
// skipped or reordered. (Rule 5.)
func TestChainLongerThanItsCapKeepsItsOrder(t *testing.T) {
	h := start(t, func(c *engine.Config) { c.MaxInFlight = 8 }, nil) // a cap of 2
	var want []int64
	for range 30 {
		want = append(want, h.insertKeyed("K"))
	}
	h.run()
	h.untilMarked(30)
	if ids := h.sink.ids(); !slices.Equal(ids, want) {
		t.Fatalf("published %v, want %v", ids, want)
	}
}

// A backlog of one key is read on as its chain empties, within the same pass: a
// pass for each chain full would read over the whole backlog every time, and
// take minutes here. Other keys go meanwhile. (Rule 9: a hot key starves nobody,
// and not itself.)
func TestHotKeyIsReadOnWithinItsPass(t *testing.T) {
	h := start(t, func(c *engine.Config) {
		c.MaxInFlight = 8 // a chain of 2
		c.PollInterval = 2 * time.Second
	}, nil)
	h.exec("INSERT INTO " + h.table + " (topic, key, payload) SELECT 'orders.created', 'hot', '{}' FROM generate_series(1, 500)")
	cold := h.insertKeyed("cold")
	h.run()
	h.untilMarked(501)
	ids := h.sink.ids()
	if at := slices.Index(ids, cold); at > 100 {
		t.Errorf("row %d of another key was published as number %d, behind the hot one", cold, at)
	}
	if hot := slices.DeleteFunc(ids, func(id int64) bool { return id == cold }); !slices.IsSorted(hot) || len(hot) != 500 {
		t.Errorf("the hot key was not published in order, once: %v", hot)
	}
}

// More keys wait for their retries than are named in a statement: their rows
// stay where they are, and all others flow. (Rule 5.)
func TestKeysThatWaitInThousandsStopNobody(t *testing.T) {
	h := start(t, nil, nil)
	h.exec("INSERT INTO " + h.table + ` (topic, key, payload, attempts, available_at)
		SELECT 'orders.created', 'waiting ' || n, '{}', 1, now() + interval '1 hour' FROM generate_series(1, 60000) n`)
	h.exec("INSERT INTO " + h.table + " (topic, key, payload) SELECT 'orders.created', 'waiting ' || n, '{}' FROM generate_series(1, 60000, 1000) n")
	fresh := h.insertKeyed("fresh")
	h.run()
	h.untilMarked(1)
	if ids := h.sink.ids(); !slices.Equal(ids, []int64{fresh}) {
		t.Fatalf("published %v, want row %d alone: the others wait behind their heads", ids, fresh)
	}
}
