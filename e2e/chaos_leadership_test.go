//go:build chaos

package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/faultproxy"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
)

// TestChaosLeadership has the leader of three relays fall in one way after the
// other, at random, under load.
func TestChaosLeadership(t *testing.T) {
	length, seed := chaosLength(t), rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	w := newWorld(t, worldOptions{})
	load := w.load(oracle.Load{Rate: 500, Seed: seed})
	var own [][]string
	var ways []*faultproxy.Proxy
	for range 3 {
		way, through := w.proxyPostgres()
		ways, own = append(ways, way), append(own, through)
	}
	f := w.fleet(len(own), own...)
	// Each returns the relay that came in the fallen one's place, or that one again.
	falls := []struct {
		name string
		do   func(i int) *relaybin.Process
	}{
		{"frozen", func(i int) *relaybin.Process {
			f.relays[i].Signal(syscall.SIGSTOP)
			f.demandTakeover(time.Now(), f.relays[i])
			f.relays[i].Signal(syscall.SIGCONT)
			return f.relays[i]
		}},
		{"cut off from PostgreSQL", func(i int) *relaybin.Process {
			ways[i].Stall(true)
			f.demandTakeover(time.Now(), f.relays[i])
			ways[i].Stall(false)
			return f.relays[i]
		}},
		{"killed", func(i int) *relaybin.Process {
			f.relays[i].Kill()
			f.awaitPublishing(f.relays[i])
			return w.relay(own[i]...)
		}},
		{"ended", func(i int) *relaybin.Process {
			f.relays[i].Terminate()
			f.awaitPublishing(f.relays[i])
			return w.relay(own[i]...)
		}},
	}
	counts := map[string]int{}
	fallen := 0
	for began := time.Now(); time.Since(began) < length; fallen++ {
		leader := f.awaitTailing()
		i := f.indexOf(leader)
		fall := falls[random.IntN(len(falls))]
		counts[fall.name]++
		f.relays[i] = fall.do(i)
		f.awaitStandby(f.relays[i])
		f.demandOneLeader()
		w.awaitStored(w.stored() + random.IntN(300))
	}
	stats := w.stop(load, 600)
	w.awaitDrained()
	f.terminate()
	t.Logf("falls: %v; load: %+v", counts, stats)
	w.verdict(oracle.Limits{Redeliveries: fallen * window})
}

func (f *fleet) indexOf(r *relaybin.Process) int {
	for i, other := range f.relays {
		if other == r {
			return i
		}
	}
	f.w.t.Fatalf("relay %d is none of the fleet", r.Pid())
	return -1
}

// TestChaosFailover promotes one standby after the other, each of a new pair,
// asynchronous and synchronous in turn.
func TestChaosFailover(t *testing.T) {
	length, seed := chaosLength(t), rand.Uint64()
	began := time.Now()
	for n := uint64(0); n < 2 || time.Since(began) < length; n++ {
		name, failover := "asynchronous", asynchronousFailover
		if n%2 == 1 {
			name, failover = "synchronous", synchronousFailover
		}
		if !t.Run(fmt.Sprintf("%d %s", n, name), func(t *testing.T) { failover(t, seed+n) }) {
			return
		}
	}
}

// The leader alone is cut off from the broker. It reaches PostgreSQL, so it keeps
// the lock, for a minute, and then leaves it to a relay that can publish (rule 14).
func TestChaosLeaderCutOffFromTheBrokerStepsDown(t *testing.T) {
	w := newWorld(t, worldOptions{})
	direct := w.env["OUTBOX_SINK_URL"]
	way := w.proxyBroker()
	load := w.load(oracle.Load{Rate: 100, Seed: 8})
	f := w.fleet(2, nil, []string{"OUTBOX_SINK_URL", direct})
	w.awaitStored(100)
	way.Refuse(true)
	way.Cut()
	w.awaitFor(2*time.Minute, "the other relay publishes", func() bool {
		r := f.says(f.relays[1])
		return r.Leader && r.PublishedTotal > 0
	})
	f.awaitStandby(f.relays[0])
	f.demandOneLeader()
	f.relays[0].AwaitLog("stepped down")
	// For longer than it does not compete, so that it does again.
	w.letPass(12 * time.Second)
	f.awaitTailing(f.relays[0])
	if lost := f.relays[0].CountLog("cannot work with the database"); lost > 0 {
		t.Errorf("the relay that stepped down lost its session %d times", lost)
	}
	way.Refuse(false)
	w.stop(load, 300)
	w.awaitDrained()
	f.terminate()
	w.verdict(oracle.Limits{Redeliveries: window})
}
