package e2e_test

import (
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
)

func TestBrokerDownWhileTailingKeepsNoLogAndNoMemory(t *testing.T) {
	t.Parallel()
	brokerDownWhileTailing(t, 20*time.Second)
}

// brokerDownWhileTailing has the broker down for some time, under load: the server
// keeps none of its log for the relay, the relay no more rows than its buffer
// takes, and afterwards all of it comes, in order.
func brokerDownWhileTailing(t *testing.T, outage time.Duration) {
	t.Helper()
	w := newTailWorld(t, worldOptions{})
	// Without the race detector, which multiplies memory.
	relay := w.relayOf(relaybin.Released)
	since := w.awaitTailing(relay)
	load := w.load(oracle.Load{Rate: 1500, Seed: 71})
	w.awaitStored(1000)
	w.demandTailed(relay, since)
	w.killBroker()
	began := time.Now()
	w.awaitPolling(relay)
	w.await("no slot keeps the log", func() bool { return w.slots() == 0 })
	before := relay.PeakMemory() >> 20
	w.awaitFor(outage+patience, "the outage is over", func() bool {
		if n := w.slots(); n > 0 {
			t.Fatalf("%d slots keep %d bytes of the log while the broker is down", n, w.retained())
		}
		return time.Since(began) > outage
	})
	after := relay.PeakMemory() >> 20
	waiting := w.pending()
	t.Logf("%d rows piled up; VmHWM from %d to %d MiB", waiting, before, after)
	if after-before > 16 {
		t.Errorf("the relay's memory grew from %d to %d MiB while the broker was down", before, after)
	}
	if s := w.status(relay); s.SinkDown == "" || s.Mode != "polling" {
		t.Errorf("the relay is %s, and says of its broker %q", s.Mode, s.SinkDown)
	}
	w.restartBroker()
	w.awaitStored(w.stored() + waiting)
	w.stop(load, 5000)
	w.awaitDrained()
	w.awaitTailing(relay)
	w.demandNothingReconciled(relay)
	relay.Terminate()
	w.verdict(oracle.Limits{Redeliveries: window})
}
