package e2e_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/faultproxy"
)

func (w *world) killBroker() {
	w.t.Helper()
	if err := w.broker.Kill(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) restartBroker() {
	w.t.Helper()
	if err := w.broker.Restart(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

func TestBrokerKilledAndRestartedLosesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	// Behind a backlog the window is full, so that each kill hits something.
	w.bulk(oracle.Bulk{Rows: 20_000, Keys: 500, Prefix: "bulk ", Payload: 100})
	load := w.load(oracle.Load{Rate: 500, Seed: 20})
	relay := w.relay()
	const kills = 5
	for range kills {
		w.awaitStored(w.stored() + 300)
		w.killBroker()
		// Past the duplicate window, or the broker swallows what comes again.
		w.letPass(3 * smallestWindow)
		w.restartBroker()
	}
	w.awaitStored(w.stored() + 300)
	w.stop(load, 100)
	w.awaitDrained()
	relay.Terminate()
	w.verdict(oracle.Limits{Redeliveries: kills * window})
}

func TestFrozenBrokerLosesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	load := w.load(oracle.Load{Rate: 500, Seed: 21})
	relay := w.relay("OUTBOX_ACK_TIMEOUT", "5s")
	w.awaitStored(300)
	if err := w.broker.Pause(); err != nil {
		t.Fatal(err)
	}
	// Long enough for the relay to give up what it sent, and to send it again.
	relay.AwaitLog(`"level":"WARN"`)
	w.await("500 rows pile up", func() bool { return w.pending() > 500 })
	if err := w.broker.Resume(); err != nil {
		t.Fatal(err)
	}
	w.awaitStored(w.stored() + 500)
	w.stop(load, 800)
	w.awaitDrained()
	relay.Terminate()
	w.verdict(oracle.Limits{Redeliveries: 2 * window})
}

// Connections that break while acknowledgements are on their way: the relay
// cannot know what was stored and sends it again, under the same id.
func TestLostAcknowledgementsAreDeliveredAgainUnderTheSameID(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	proxy := w.proxyBroker()
	load := w.load(oracle.Load{Rate: 500, Seed: 22})
	relay := w.relay()
	const cuts = 3
	for range cuts {
		w.awaitStored(w.stored() + 200)
		proxy.StallReplies(true)
		w.awaitStored(w.stored() + 1)
		proxy.Cut()
		proxy.StallReplies(false)
	}
	w.awaitStored(w.stored() + 200)
	w.stop(load, 600)
	w.awaitDrained()
	relay.Terminate()
	w.verdict(oracle.Limits{Redeliveries: cuts * window})
}

// proxyBroker puts a proxy between the relays and the broker.
func (w *world) proxyBroker() *faultproxy.Proxy {
	w.t.Helper()
	proxy, err := faultproxy.Start(w.t.Context(), w.broker.Addr())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = proxy.Close() })
	w.env["OUTBOX_SINK_URL"] = "nats://" + proxy.Addr()
	return proxy
}

func TestNothingIsCountedAgainstRowsWhileTheBrokerIsDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	relay := w.relay("OUTBOX_MAX_ATTEMPTS", "1", "OUTBOX_DEAD_AFTER", "1ms")
	w.insert(plain(1)) // so that it has seen the broker work
	w.awaitDrained()
	w.killBroker()
	w.finish(w.load(oracle.Load{Rows: 1000, Seed: 23}))
	relay.AwaitLog(`"level":"WARN"`)
	// The relay has had every chance to count: its breaker probes a few times.
	w.letPass(3 * time.Second)
	w.restartBroker()
	w.awaitDrained()
	relay.Terminate()
	touched := w.count(`SELECT count(*) FROM {outbox} WHERE attempts > 0 OR dead_at IS NOT NULL OR last_error IS NOT NULL`)
	if touched > 0 {
		t.Errorf("%d rows have attempts, an error or are dead, though only the broker was down; %s", touched, w.state())
	}
	w.verdict(oracle.Limits{Redeliveries: window})
}

func TestBrokerUnreachableAtStartIsWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	w.killBroker()
	relay := w.relay()
	w.finish(w.load(oracle.Load{Rows: 300, Seed: 24}))
	relay.AwaitLog(`"level":"WARN"`)
	w.restartBroker()
	w.awaitDrained()
	relay.Terminate()
	if noise := relay.CountLog(`"level":"WARN"`) + relay.CountLog(`"level":"ERROR"`); noise > 10 {
		t.Errorf("%d warnings for one fault, want a few, at growing intervals:\n%s", noise, relay.Log())
	}
	w.verdict(oracle.Limits{})
}

// A full stream refuses each message; then somebody makes room. Order within a
// key holds all the same, and only rows that were refused carry attempts.
func TestFullStreamKeepsRowsUntilThereIsRoom(t *testing.T) {
	t.Parallel()
	const room = 200
	var config jetstream.StreamConfig
	w := newWorld(t, worldOptions{stream: func(c *jetstream.StreamConfig) {
		c.MaxMsgs, c.Discard = room, jetstream.DiscardNew
		config = *c
	}})
	relay := w.relay("OUTBOX_MAX_ATTEMPTS", "1")
	w.finish(w.load(oracle.Load{Rows: 1000, Keys: 20, Seed: 25}))
	w.await("rows are refused", func() bool {
		return w.count(`SELECT count(*) FROM {outbox} WHERE attempts > 1 AND last_error <> '' AND available_at IS NOT NULL`) > 0
	})
	if stored := w.stored(); stored != room {
		t.Errorf("the full stream has %d messages, want %d", stored, room)
	}
	if dead := w.count(`SELECT count(*) FROM {outbox} WHERE dead_at IS NOT NULL`); dead > 0 {
		t.Errorf("%d rows are dead: their attempts are used up, but OUTBOX_DEAD_AFTER is not over", dead)
	}
	config.MaxMsgs = -1
	if _, err := w.js.UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	w.awaitDrained()
	relay.Terminate()
	w.verdict(oracle.Limits{})
}

// A message that breaks the connection whenever it is sent: found out, given up,
// and in nobody's way, its own key's later rows included.
func TestPoisonThatKillsConnectionsIsIsolated(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	proxy := w.proxyBroker()
	proxy.CutOn([]byte("poison-pill"))
	const attempts = 2
	load := w.load(oracle.Load{Rate: 300, Rows: 600, Seed: 26})
	poison := plain(0)
	poison.Key, poison.Keyed, poison.Payload = "poisoned", true, []byte(`{"is": "poison-pill"}`)
	next := plain(1)
	next.Key, next.Keyed = "poisoned", true
	w.insertAs(oracle.Buried, poison)
	w.insertAs(oracle.Delivered, next)
	relay := w.relay("OUTBOX_MAX_ATTEMPTS", "2", "OUTBOX_DEAD_AFTER", "1ms")
	w.finish(load)
	w.awaitDrained()
	relay.Terminate()
	var lastError string
	w.row(`SELECT coalesce(last_error, '') FROM {outbox} WHERE dead_at IS NOT NULL`, nil, &lastError)
	if lastError == "" {
		t.Error("the poison row has no last_error")
	}
	// Two losses to come under suspicion, and one per attempt.
	w.verdict(oracle.Limits{Redeliveries: (2 + attempts) * window})
}
