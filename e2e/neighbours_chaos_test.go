//go:build chaos

package e2e_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
	"github.com/outbox-relay/outbox-relay/relay"
)

// rateOf is how many rows a second are inserted: as RATE says.
func rateOf(t *testing.T) int {
	text := os.Getenv("RATE")
	if text == "" {
		return 1000
	}
	rate, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return rate
}

// suspendedFor is how long nobody acknowledges: five minutes, or as SUSPEND says.
func suspendedFor(t *testing.T) time.Duration {
	text := os.Getenv("SUSPEND")
	if text == "" {
		return 5 * time.Minute
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// neighbours measures what a topic that nobody acknowledges costs another one.
type neighbours struct {
	*world
	good, late string
	nth        int          // one row in so many is of the late topic
	rate       int          // rows a second, of both
	inserted   atomic.Int64 // rows of the good topic
}

// measure returns when all is sent. The rate of the others is that of their marks.
func (n *neighbours) measure(start func() *relaybin.Process, stop, resume func(), suspended time.Duration) {
	n.t.Helper()
	for _, name := range []string{"OUTBOX_MAX_IN_FLIGHT", "OUTBOX_POLL_INTERVAL", "OUTBOX_RETRY_MIN", "OUTBOX_RETRY_MAX", "OUTBOX_LOG_LEVEL"} {
		delete(n.env, name)
	}
	// So that it costs little to know how many wait, however many rows there are.
	n.exec(`CREATE INDEX ON {outbox} (id) WHERE sent_at IS NULL AND topic = '` + n.good + `'`)
	ctx, cancel := context.WithCancel(n.t.Context())
	done := make(chan error, 1)
	go func() { done <- n.feed(ctx) }()
	relay := start()
	n.goodRate("warm up", 15*time.Second)
	before := n.goodRate("before", 30*time.Second)
	stop()
	var rates []float64
	sent, began := n.sent(), time.Now()
	for time.Since(began) < suspended {
		rates = append(rates, n.goodRate("during", min(30*time.Second, suspended)))
		s := n.status(relay)
		n.t.Logf("%s, %s; late: %+v; held keys %d; refused %d", s.Mode, s.Reason, s.Late, s.HeldKeys, s.RefusedTotal)
	}
	during := float64(n.sent()-sent) / time.Since(began).Seconds()
	ratio := during / before
	n.t.Logf("ratio %.2f: %.0f/s before, %.0f/s during %v: %.0f", ratio, before, during, suspended, rates)
	attempts := n.count(`SELECT count(*) FROM {outbox} WHERE attempts > 0 AND topic = $1`, n.good)
	late := n.count(`SELECT coalesce(sum(attempts), 0) FROM {outbox} WHERE topic = $1`, n.late)
	waiting := n.count(`SELECT count(*) FROM {outbox} WHERE sent_at IS NULL AND topic = $1`, n.late)
	n.t.Logf("%d rows of the late topic wait, with %d attempts", waiting, late)
	if attempts > 0 || ratio < 0.8 {
		n.t.Errorf("the others keep %.2f of their rate, and %d of their rows have attempts", ratio, attempts)
	}
	resume()
	cancel()
	if err := <-done; err != nil {
		n.t.Error(err)
	}
	resumed := time.Now()
	n.awaitFor(10*time.Minute, "all is sent", func() bool { return n.pending() == 0 })
	n.t.Logf("all is sent %v after the queue went on", time.Since(resumed).Round(time.Second))
	relay.Terminate()
}

// feed inserts rows at a steady rate: those of the late topic with a key of their own each,
// and those of the other with few keys.
func (n *neighbours) feed(ctx context.Context) error {
	const pause = 100 * time.Millisecond
	batch := n.rate / int(time.Second/pause)
	db := pgtest.Connect(n.t, n.url)
	sql := n.sql(`INSERT INTO {outbox} (topic, key, payload)
		SELECT CASE n % $3 WHEN 0 THEN $1 ELSE $2 END, CASE n % $3 WHEN 0 THEN 'late ' || n ELSE 'good ' || n % 1000 END,
			json_build_object('n', n, 'pad', repeat('x', 200))::text::` + n.payload() + `
		FROM generate_series($4::int, $5::int) AS n`)
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for number := 0; ctx.Err() == nil; number += batch {
		if _, err := db.Exec(context.WithoutCancel(ctx), sql, n.late, n.good, n.nth, number, number+batch-1); err != nil {
			return fmt.Errorf("insert: %w", err)
		}
		n.inserted.Add(int64(batch - batch/n.nth))
		<-tick.C
	}
	return nil
}

func (n *neighbours) payload() string {
	if n.options.payload == "" {
		return "json"
	}
	return string(n.options.payload)
}

// waiting is how many rows of the good topic are not sent.
func (n *neighbours) waiting() string {
	return n.sql(`SELECT count(*) FROM {outbox} WHERE sent_at IS NULL AND topic = '` + n.good + `'`)
}

// sent is how many are.
func (n *neighbours) sent() int {
	inserted := int(n.inserted.Load())
	return inserted - n.count(n.waiting())
}

// goodRate is how many rows of the good topic were sent a second, over this long.
func (n *neighbours) goodRate(what string, d time.Duration) float64 {
	n.t.Helper()
	before, began := n.sent(), time.Now()
	if err := relay.Sleep(n.t.Context(), d); err != nil { // the length of a measurement: there is nothing to wait for
		n.t.Fatal(err)
	}
	rate := float64(n.sent()-before) / time.Since(began).Seconds()
	n.t.Logf("%s: %.0f rows/s of the others", what, rate)
	return rate
}
