package e2e_test

import (
	"testing"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
	"github.com/outbox-relay/outbox-relay/e2e/relaybin"
)

// memoryLimit is what the relay may use at most, in MiB, whatever is waiting.
const memoryLimit = 200

// One transaction of many rows appears all at once, larger than any buffer. It
// is moved in order and in bounded memory.
func TestTransactionOfThreeHundredThousandRows(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	// Without the race detector, which multiplies memory.
	relay := w.relayOf(relaybin.Released, "OUTBOX_MAX_IN_FLIGHT", "4096")
	relay.AwaitLog("leading")
	w.bulk(oracle.Bulk{Rows: 300_000, Keys: 1000, Prefix: "bulk ", Payload: 300})
	w.awaitStored(300_000)
	w.awaitDrained()
	memory := relay.PeakMemory() >> 20
	relay.Terminate()
	t.Logf("VmHWM %d MiB", memory)
	if memory >= memoryLimit {
		t.Errorf("the relay used %d MiB, want below %d", memory, memoryLimit)
	}
	w.verdict(oracle.Limits{})
}
