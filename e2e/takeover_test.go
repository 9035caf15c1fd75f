package e2e_test

import (
	"fmt"
	"net/url"
	"syscall"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/faultproxy"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
)

// takeover is how soon after a leader has fallen silent another one publishes.
// The rules make it six seconds: idle_session_timeout, and a standby's turn.
const takeover = 40 * time.Second

// demandTakeover waits for another relay to publish and holds it to the deadline.
func (f *fleet) demandTakeover(since time.Time, fallen *relaybin.Process) *relaybin.Process {
	f.w.t.Helper()
	next := f.awaitPublishing(fallen)
	took := time.Since(since)
	f.w.t.Logf("taken over after %v", took)
	if took > takeover {
		f.w.t.Errorf("another relay published %v after the leader fell silent, want it within %v", took, takeover)
	}
	return next
}

// A frozen leader still answers TCP keepalives; its session must end for all
// that (rule 13). When it wakes up it may send what it held once more, and nothing
// else: it finds out that it leads no more, and stands by.
func TestStandbyTakesOverFromAFrozenLeader(t *testing.T) {
	t.Parallel()
	for _, relays := range []int{2, 3} {
		t.Run(fmt.Sprintf("%d relays", relays), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, worldOptions{})
			load := w.load(oracle.Load{Rate: 500, Seed: 4})
			f := w.fleet(relays)
			w.awaitStored(200)
			leader := f.awaitTailing()
			const freezes = 2
			for range freezes {
				frozen := time.Now()
				leader.Signal(syscall.SIGSTOP)
				next := f.demandTakeover(frozen, leader)
				f.demandOneLeader(leader)
				w.awaitStored(w.stored() + 200)
				leader.Signal(syscall.SIGCONT)
				f.awaitStandby(leader)
				if f.awaitTailing() != next {
					t.Error("the lead passed on when the frozen relay woke up")
				}
				w.awaitStored(w.stored() + 200)
				leader = next
			}
			w.stop(load, 600)
			w.awaitDrained()
			f.terminate()
			w.verdict(oracle.Limits{Redeliveries: freezes * window})
		})
	}
}

// Nothing is written, so nothing but the heartbeat keeps the leader's session from
// being ended as that of a frozen one.
func TestIdleLeaderKeepsTheLead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	f := w.fleet(2)
	w.letPass(8 * time.Second)
	w.insert(plain(1))
	w.awaitDrained()
	if f.awaitTailing() != f.relays[0] {
		t.Error("the lead passed on though nothing happened")
	}
	for _, r := range f.relays {
		if lost := r.CountLog("cannot work with the database"); lost > 0 {
			t.Errorf("an idle relay lost its session %d times", lost)
		}
	}
	f.terminate()
	w.verdict(oracle.Limits{})
}

// proxyPostgres puts a proxy between PostgreSQL and the relays that are given its
// variable.
func (w *world) proxyPostgres() (*faultproxy.Proxy, []string) {
	w.t.Helper()
	u, err := url.Parse(w.relayURL())
	if err != nil {
		w.t.Fatal(err)
	}
	proxy, err := faultproxy.Start(w.t.Context(), u.Host)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = proxy.Close() })
	u.Host = proxy.Addr()
	return proxy, []string{"OUTBOX_DATABASE_URL", u.String()}
}

// Half open: nothing passes, and no connection ends. The kernels at both ends
// still hear each other, so neither keepalives nor TCP_USER_TIMEOUT help: on the
// server's side idle_session_timeout does, on the relay's the heartbeat.
func TestStandbyTakesOverFromALeaderCutOffFromPostgreSQL(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	proxy, through := w.proxyPostgres()
	load := w.load(oracle.Load{Rate: 500, Seed: 7})
	f := w.fleet(3, through)
	leader := f.relays[0]
	w.awaitStored(200)

	cut := time.Now()
	proxy.Stall(true)
	next := f.demandTakeover(cut, leader)
	f.demandOneLeader(leader)
	w.await("the relay that is cut off knows it", func() bool { return f.says(leader).Mode == "connecting" })
	if known := time.Since(cut); known > takeover {
		t.Errorf("a relay that was cut off knew it after %v, want %v at most", known, takeover)
	}
	before := f.says(leader)
	w.awaitStored(w.stored() + 200)
	if after := f.says(leader); after.PublishedTotal != before.PublishedTotal {
		t.Errorf("without its database a relay went on from %d messages to %d", before.PublishedTotal, after.PublishedTotal)
	}

	proxy.Stall(false)
	f.awaitStandby(leader)
	if f.awaitTailing() != next {
		t.Error("the lead passed on when the relay that was cut off came back")
	}
	w.awaitStored(w.stored() + 200)
	w.stop(load, 600)
	w.awaitDrained()
	f.terminate()
	w.verdict(oracle.Limits{Redeliveries: window})
}
