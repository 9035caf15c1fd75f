package engine_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/engine"
)

// The head of a key waits for its retry, and far more rows than the buffer takes
// stand behind it. The log is read all the same, and other keys go; when the head is
// due, the rows behind it go in their order, with those that the log brings meanwhile.
func TestTailIsReadBesideAHotKey(t *testing.T) {
	const behind = 5000 // the buffer takes 1024
	h := start(t, func(c *engine.Config) {
		tailed(c)
		c.Tail.ReconcileInterval = 200 * time.Millisecond
	}, nil)
	h.exec(fmt.Sprintf(`INSERT INTO outbox (topic, key, payload, attempts, available_at)
		SELECT 'orders.created', 'hot', '1', 1 - least(n, 1), CASE n WHEN 0 THEN now() + interval '1 hour' END FROM generate_series(0, %d) AS n`, behind))
	h.run()
	h.untilTailing()
	for n := range 20 {
		h.insertKeyed(fmt.Sprintf("other %d", n))
	}
	h.untilMarked(20)
	if n := h.int(`SELECT count(*) FROM outbox WHERE key = 'hot' AND sent_at IS NOT NULL`); n != 0 {
		t.Fatalf("%d rows went before the head of their key", n)
	}
	h.exec(`UPDATE outbox SET available_at = now() WHERE key = 'hot' AND attempts = 1`)
	var late []int64
	h.until("the rows behind the head have gone", func() bool { // while the log brings others of their key
		late = append(late, h.insertKeyed("hot"))
		h.insertKeyed(fmt.Sprintf("another %d", len(late)))
		return h.int("SELECT count(*) FROM outbox WHERE key = 'hot' AND sent_at IS NOT NULL") > behind
	})
	h.untilMarked(int64(20 + 1 + behind + 2*len(late)))
	sent := slices.DeleteFunc(h.sink.ids(), func(id int64) bool {
		return id > behind+1 && !slices.Contains(late, id)
	})
	if len(sent) != behind+1+len(late) || !slices.IsSorted(sent) {
		t.Errorf("%d rows of the key were published, in order: %t", len(sent), slices.IsSorted(sent))
	}
	if s := h.relay.Status(); s.Mode != relay.Tailing || strings.Contains(h.log.String(), "catching up") {
		t.Errorf("status is %+v, want tailing all the time:\n%s", s, h.log)
	}
}
