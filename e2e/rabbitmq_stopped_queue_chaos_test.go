//go:build chaos

package e2e_test

import (
	"testing"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
)

// Half of the rows go to a queue that takes no commands for five minutes. The others keep four fifths of their rate, and no attempt of theirs is
// counted.
func TestChaosRabbitMQStoppedQueue(t *testing.T) {
	cluster := pgtest.Own(t, map[string]string{"max_wal_size": "8GB", "checkpoint_timeout": "1h"})
	w := newRabbitWorldOn(t, ownNode(t), quorum, cluster)
	stop, resume := w.stopQueue()
	w.ctl("set_policy", "short", ".*", `{"max-length":10000}`, "--apply-to", "queues")
	n := &neighbours{world: w.world, good: "oracle.good", late: stoppedTopic, nth: 2, rate: rateOf(t)}
	n.measure(func() *relaybin.Process { return w.relayOf(relaybin.Released) }, stop, resume, suspendedFor(t))
}
