package e2e_test

import (
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
)

// memoryLimit is what the relay may use at most, in MiB, whatever is waiting.
const memoryLimit = 200

// One transaction of many rows appears all at once in the log, larger than any
// buffer. It is moved in order and in bounded memory, and the log is read
// afterwards, whether the tail kept up with it or was left.
func TestTransactionOfThreeHundredThousandRows(t *testing.T) {
	t.Parallel()
	w := newTailWorld(t, worldOptions{})
	// Without the race detector, which multiplies memory.
	relay := w.relayOf(relaybin.Released, "OUTBOX_MAX_IN_FLIGHT", "4096")
	w.awaitTailing(relay)
	began := time.Now()
	w.bulk(oracle.Bulk{Rows: 300_000, Keys: 1000, Prefix: "bulk ", Payload: 300})
	committed := time.Now()
	w.awaitFor(3*time.Minute, "all rows are published", func() bool { return w.stored() >= 300_000 })
	w.awaitDrained()
	drained := time.Now()
	memory := relay.PeakMemory() >> 20
	w.demandOnceTailed(relay, func(try int) {
		w.insert(plain(try))
		w.awaitDrained()
	})
	relay.Terminate()
	t.Logf("inserted in %v, drained in %v, VmHWM %d MiB", committed.Sub(began), drained.Sub(committed), memory)
	if memory >= memoryLimit {
		t.Errorf("the relay used %d MiB, want below %d", memory, memoryLimit)
	}
	w.verdict(oracle.Limits{})
}
