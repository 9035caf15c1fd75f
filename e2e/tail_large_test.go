package e2e_test

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
)

// A row of 100 MB, more than the whole buffer, comes by the tail where the broker
// takes it. JetStream keeps such a message in memory only: in a file it takes a
// record over 32 MB for a broken one.
func TestRowOfAHundredMegabytesComesByTheTail(t *testing.T) {
	t.Parallel()
	w := newTailWorld(t, worldOptions{
		broker: "max_payload: 128MB\nmax_pending: 512MB\njetstream { max_mem: 1GB, max_buffered_size: 512MB }",
		stream: func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage },
	})
	relay := w.relayOf(relaybin.Released)
	load := w.load(oracle.Load{Rate: 100, Seed: 62})
	w.awaitStored(20)
	w.demandOnceTailed(relay, func(try int) {
		w.bulk(oracle.Bulk{Rows: 1, Keys: 1, Prefix: fmt.Sprintf("huge %d ", try), Payload: 100_000_000})
		w.await("the large row is sent", func() bool {
			return w.count(`SELECT count(*) FROM {outbox} WHERE topic = 'oracle.bulk' AND sent_at IS NOT NULL`) == try+1
		})
		w.awaitStored(w.stored() + 20)
	})
	w.stop(load, 50)
	w.awaitDrained()
	t.Logf("VmHWM %d MiB", relay.PeakMemory()>>20)
	relay.Terminate()
	w.verdict(oracle.Limits{})
}

// A row over the broker's limit in the midst of the log: dead without having been
// in memory, and in nobody's way, its own key's next row included.
func TestRowOverTheLimitInTheLogDiesUnread(t *testing.T) {
	t.Parallel()
	w := newTailWorld(t, worldOptions{})
	w.exec(`ALTER TABLE {outbox} ALTER COLUMN payload SET STORAGE EXTERNAL`)
	relay := w.relayOf(relaybin.Released)
	load := w.load(oracle.Load{Rate: 200, Seed: 63})
	w.awaitStored(50)
	tries := 0
	w.demandOnceTailed(relay, func(try int) {
		tries++
		next := plain(try)
		next.Key, next.Keyed = fmt.Sprintf("huge %d", try), true
		// Not compressed, so that all of it is in the log.
		w.exec(`INSERT INTO {outbox} (topic, key, payload) VALUES ('oracle.huge', $1, ('"' || repeat('x', 50000000) || '"')::json)`, next.Key)
		follower := w.insert(next)
		w.await("the row behind it is sent", func() bool { return w.sent(follower) })
		w.awaitStored(w.stored() + 50)
	})
	w.stop(load, 100)
	w.awaitDrained()
	memory := relay.PeakMemory() >> 20
	relay.Terminate()
	if dead := w.count(`SELECT count(*) FROM {outbox} WHERE dead_at IS NOT NULL AND last_error LIKE '%1048576%too large%'`); dead != tries {
		t.Errorf("%d dead rows name the limit of 1048576 bytes, want %d; %s", dead, tries, w.state())
	}
	t.Logf("VmHWM %d MiB", memory)
	if memory > 45 {
		t.Errorf("the relay used %d MiB beside a row of 50 MB that it cannot send, want below 45", memory)
	}
	w.verdict(oracle.Limits{})
}
