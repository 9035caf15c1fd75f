package e2e_test

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
)

func TestSIGTERMUnderLoadDeliversNothingTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	load := w.load(oracle.Load{Rate: 1500, Seed: 10})
	for range 5 {
		relay := w.relay("OUTBOX_MAX_IN_FLIGHT", "1024")
		w.awaitStored(w.stored() + 500)
		relay.Terminate()
		acknowledged, marked := w.stored(), w.count(`SELECT count(*) FROM {outbox} WHERE sent_at IS NOT NULL`)
		if acknowledged != marked {
			t.Errorf("%d messages are in the stream and %d rows are marked after a graceful end", acknowledged, marked)
		}
	}
	relay := w.relay()
	w.stop(load, 2000)
	w.awaitDrained()
	relay.Terminate()
	w.verdict(oracle.Limits{})
}

// hang leaves the relay with rows in flight at a broker that does not answer.
func hang(t *testing.T, w *world, grace string) *relaybin.Process {
	t.Helper()
	relay := w.relay("OUTBOX_SHUTDOWN_GRACE", grace)
	w.finish(w.load(oracle.Load{Rows: 500, Seed: 11}))
	w.awaitDrained()
	if err := w.broker.Pause(); err != nil {
		t.Fatal(err)
	}
	w.bulk(oracle.Bulk{Rows: 500, Keys: 500, Prefix: "bulk ", Payload: 200})
	w.await("the relay has written to the frozen broker", func() bool { return unread(t, w.broker.Addr()) > 10_000 })
	return relay
}

// unread is the number of bytes that the kernel keeps for a server that does not
// read them, on all its connections.
func unread(t *testing.T, addr string) int64 {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	var sum int64
	for line := range strings.Lines(string(table)) {
		// Columns: number, local address, remote address, state, tx_queue:rx_queue.
		column := strings.Fields(line)
		if len(column) < 5 || !strings.HasSuffix(column[1], fmt.Sprintf(":%04X", number)) {
			continue
		}
		_, queue, _ := strings.Cut(column[4], ":")
		n, err := strconv.ParseInt(queue, 16, 64)
		if err != nil {
			t.Fatalf("/proc/net/tcp: %q: %v", line, err)
		}
		sum += n
	}
	return sum
}

// recoverFrom lets the broker answer again and a new relay finish.
func recoverFrom(t *testing.T, w *world) {
	t.Helper()
	if err := w.broker.Resume(); err != nil {
		t.Fatal(err)
	}
	relay := w.relay()
	w.awaitDrained()
	relay.Terminate()
	w.verdict(oracle.Limits{Redeliveries: window})
}

func TestSIGTERMWithAHungBrokerEndsAtTheDeadline(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	relay := hang(t, w, "2s")
	asked := time.Now()
	relay.Signal(syscall.SIGTERM)
	code := relay.Wait(patience)
	if took := time.Since(asked); took > patience/2 {
		t.Errorf("the relay took %v to end, with a grace of 2s", took)
	}
	if code == 0 {
		t.Error("exit status 0, although rows were in flight")
	}
	recoverFrom(t, w)
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	relay := hang(t, w, "60s")
	relay.Signal(syscall.SIGTERM)
	// Two signals in a row may arrive as one.
	relay.AwaitLog("stopping")
	asked := time.Now()
	relay.Signal(syscall.SIGTERM)
	code := relay.Wait(patience)
	if took := time.Since(asked); took > patience/2 {
		t.Errorf("the relay took %v to end after the second signal", took)
	}
	if code == 0 {
		t.Error("exit status 0, although rows were in flight")
	}
	recoverFrom(t, w)
}

// A standby and a relay that reaches nothing have nothing to wait for.
func TestSIGTERMEndsAnIdleRelayAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	leader := w.relay("OUTBOX_SHUTDOWN_GRACE", "60s")
	leader.AwaitLog("leading")
	standby := w.relay("OUTBOX_SHUTDOWN_GRACE", "60s")
	standby.AwaitLog("standing by")
	lost := w.relay("OUTBOX_SHUTDOWN_GRACE", "60s", "OUTBOX_DATABASE_URL", "postgres://127.0.0.1:1/nowhere")
	lost.AwaitLog("database")
	for name, relay := range map[string]*relaybin.Process{"standby": standby, "leader": leader, "relay without database": lost} {
		asked := time.Now()
		relay.Terminate()
		if took := time.Since(asked); took > patience/2 {
			t.Errorf("the %s took %v to end", name, took)
		}
	}
}
