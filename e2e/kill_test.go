package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
)

// faultPoints are the places at which the relay can be told to kill itself, and
// how often each may be passed before it does.
var faultPoints = []struct {
	name string
	most int
	env  []string // that has the relay come there
}{
	{"after-publish", 400, nil},                                       // per message
	{"after-ack", 400, nil},                                           // per message
	{"before-mark", 20, nil},                                          // per batch
	{"after-mark", 20, nil},                                           // per batch
	{"during-pass", 10, []string{"OUTBOX_MODE", "polling"}},           // per chunk
	{"during-survey", 2, []string{"OUTBOX_RECONCILE_INTERVAL", "1s"}}, // per survey
}

func TestRelayKilledTwentyTimesLosesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	load := w.load(oracle.Load{Rate: 600, KillEvery: 300 * time.Millisecond, Seed: 1})
	const each = 2
	kills := 0
	for range each {
		for _, point := range faultPoints {
			relay := w.relay(append(point.env, "RELAY_FAULTPOINT", fmt.Sprintf("%s:%d", point.name, 1+rand.IntN(point.most)))...)
			relay.AwaitFaultPoint()
			relay = w.relay()
			w.awaitStored(w.stored() + 1 + rand.IntN(300))
			relay.Kill()
			kills += 2
		}
	}
	last := w.relay()
	stats := w.stop(load, 2000)
	w.awaitDrained()
	last.Terminate()
	t.Logf("%d kills; the load: %+v", kills, stats)
	w.verdict(oracle.Limits{Redeliveries: kills * window})
}

// The limit of the test above would hide a relay that publishes its whole window
// again after each restart, or one that marks before the acknowledgement. Here
// the kill lands between acknowledgement and mark, and what comes again is
// exactly what was acknowledged and not marked.
func TestOnlyUnmarkedRowsAreDeliveredAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	w.finish(w.load(oracle.Load{Rows: 3000, Seed: 2}))
	w.relay("RELAY_FAULTPOINT", "before-mark:3").AwaitFaultPoint()
	// The broker reads what the killed process had written. And past the duplicate
	// window it stores every copy.
	w.await("the broker has read everything", func() bool { return unread(t, w.broker.Addr()) == 0 })
	w.letPass(20 * smallestWindow)
	unmarked := w.stored() - w.count(`SELECT count(*) FROM {outbox} WHERE sent_at IS NOT NULL`)
	if unmarked <= 0 || unmarked > window {
		t.Fatalf("%d messages were stored and not marked at the kill, want 1 to %d", unmarked, window)
	}
	relay := w.relay()
	w.awaitDrained()
	relay.Terminate()
	if again := w.verdict(oracle.Limits{Redeliveries: unmarked}); again != unmarked {
		t.Errorf("%d messages came again, want the %d that were stored and not marked", again, unmarked)
	}
}

func TestStandbyTakesOverFromAKilledLeader(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	load := w.load(oracle.Load{Rate: 1000, Seed: 3})
	leader := w.relay()
	leader.AwaitLog("leading")
	const kills = 3
	for range kills {
		standby := w.relay()
		standby.AwaitLog("standing by")
		w.awaitStored(w.stored() + 200)
		leader.Kill()
		standby.AwaitLog("leading")
		leader = standby
	}
	w.awaitStored(w.stored() + 200)
	w.stop(load, 800)
	w.awaitDrained()
	leader.Terminate()
	w.verdict(oracle.Limits{Redeliveries: kills * window})
}

func TestHandOverOnSIGTERMDeliversNothingTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	load := w.load(oracle.Load{Rate: 1000, Seed: 5})
	leader := w.relay()
	leader.AwaitLog("leading")
	for range 3 {
		standby := w.relay()
		standby.AwaitLog("standing by")
		w.awaitStored(w.stored() + 200)
		leader.Terminate()
		standby.AwaitLog("leading")
		leader = standby
	}
	w.awaitStored(w.stored() + 200)
	w.stop(load, 800)
	w.awaitDrained()
	leader.Terminate()
	w.verdict(oracle.Limits{})
}

// And each relay has one more for the moments in which it counts the rows.
func TestALeaderHasThreeConnectionsAndAStandbyOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	load := w.load(oracle.Load{Rate: 1000, Seed: 6})
	leader := w.relay()
	leader.AwaitLog("leading")
	w.demandConnections(1, 3+1)
	standby := w.relay()
	standby.AwaitLog("standing by")
	w.demandConnections(2, 4+2)
	w.stop(load, 100)
	w.awaitDrained()
	leader.Terminate()
	standby.Terminate()
	w.verdict(oracle.Limits{})
}

// demandConnections looks at the role's sessions while 500 messages go by.
func (w *world) demandConnections(least, most int) {
	w.t.Helper()
	until := w.stored() + 500
	w.await("500 messages went by", func() bool {
		n := w.count(`SELECT count(*) FROM pg_stat_activity WHERE usename = $1`, w.role)
		if n < least || n > most {
			w.t.Errorf("the relays have %d connections, want %d to %d", n, least, most)
			return true
		}
		return w.stored() >= until
	})
	unnamed := w.count(`SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND application_name NOT LIKE 'outbox-relay%'`, w.role)
	if unnamed > 0 {
		w.t.Errorf("%d connections of the relay do not carry its name", unnamed)
	}
}
