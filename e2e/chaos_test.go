//go:build chaos

package e2e_test

import (
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/faultproxy"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgserver"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
)

// campaign is a world in which faults happen for as long as it is told.
type campaign struct {
	*world
	cluster *pgserver.Server
	proxy   *faultproxy.Proxy
	relays  []*relaybin.Process // always two: one leads
	excused int                 // redeliveries that the faults so far explain
}

// TestChaos does one fault after the other, at random, under load. CHAOS says
// for how long; the seed of a failed run is in its output, though the order of
// events is the machine's.
func TestChaos(t *testing.T) {
	length := chaosLength(t)
	cluster := pgtest.Own(t, map[string]string{"wal_writer_delay": "10ms"})
	c := &campaign{world: newWorld(t, worldOptions{cluster: cluster}), cluster: cluster}
	delete(c.env, "OUTBOX_ACK_TIMEOUT") // as by default: the broker freezes for longer
	c.proxy = c.proxyBroker()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	load := c.load(oracle.Load{Rate: 800, KillEvery: 500 * time.Millisecond, Seed: seed})
	c.relays = []*relaybin.Process{c.relay(), c.relay()}
	faults := c.faults()
	counts := map[string]int{}
	for began := time.Now(); time.Since(began) < length; {
		f := faults[random.IntN(len(faults))]
		counts[f.name]++
		f.do()
		c.excused += f.excuses
		c.awaitStored(c.stored() + random.IntN(400))
	}
	stats := c.stop(load, 1000)
	c.awaitReconnect()
	c.awaitDrained()
	for _, r := range c.relays {
		terminateStarted(r)
	}
	t.Logf("faults: %v; load: %+v", counts, stats)
	c.verdict(oracle.Limits{Redeliveries: c.excused})
}

// chaosLength is what CHAOS says.
func chaosLength(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("CHAOS")
	if text == "" {
		return 2 * time.Minute
	}
	length, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("CHAOS=%q: want a duration, such as 10m", text)
	}
	return length
}

type fault struct {
	name    string
	excuses int // redeliveries
	do      func()
}

func (c *campaign) faults() []fault {
	return []fault{
		{"relay killed", window, c.killRelay},
		{"relay ended", 0, c.endRelay},
		{"broker killed", window, func() { c.killBroker(); c.restartBroker() }},
		{"broker frozen", 2 * window, c.freezeBroker},
		{"connections cut", window, c.proxy.Cut},
		{"acknowledgements lost", window, c.loseAcknowledgements},
		{"control session ended", window, func() {
			c.terminate(`pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted)`)
		}},
		{"all sessions ended", window, func() { c.terminate(`true`) }},
		{"PostgreSQL crashed", window + 1000, c.crashPostgres},
		{"table truncated", 0, c.truncate},
	}
}

// killRelay kills either the leader or the standby.
func (c *campaign) killRelay() {
	i := rand.IntN(len(c.relays))
	c.relays[i].Kill()
	c.relays[i] = c.relay()
}

func (c *campaign) endRelay() {
	i := rand.IntN(len(c.relays))
	terminateStarted(c.relays[i])
	c.relays[i] = c.relay()
}

// terminateStarted ends a relay that may have been started a moment ago: before
// its first line it does not take the signal yet, and the system ends it.
func terminateStarted(r *relaybin.Process) {
	r.AwaitLog(`"msg":"starting"`)
	r.Terminate()
}

func (c *campaign) freezeBroker() {
	if err := c.broker.Pause(); err != nil {
		c.t.Fatal(err)
	}
	c.letPass(time.Duration(rand.IntN(int(8 * time.Second))))
	if err := c.broker.Resume(); err != nil {
		c.t.Fatal(err)
	}
}

func (c *campaign) loseAcknowledgements() {
	c.proxy.StallReplies(true)
	c.letPass(100 * time.Millisecond)
	c.proxy.Cut()
	c.proxy.StallReplies(false)
}

func (c *campaign) crashPostgres() {
	if err := c.cluster.Kill(); err != nil {
		c.t.Fatal(err)
	}
	if err := c.cluster.Restart(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
	c.awaitReconnect()
}

func (c *campaign) truncate() {
	if err := oracle.Truncate(c.t.Context(), c.conn(), c.table); err != nil {
		c.t.Fatal(err)
	}
}
