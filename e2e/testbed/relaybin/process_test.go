package relaybin_test

import (
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestProcessGetsNothingButItsEnvironment(t *testing.T) {
	t.Setenv("OUTBOX_TABLE", "from the test's own environment")
	p := relaybin.Start(t, relaybin.Released, nil)
	if code := p.Wait(time.Minute); code != 2 {
		t.Errorf("exit status = %d without any configuration, want 2", code)
	}
	log := p.Log()
	if !strings.Contains(log, "OUTBOX_DATABASE_URL") || strings.Contains(log, "OUTBOX_TABLE") {
		t.Errorf("output = %q, want it to name what is missing and nothing that is set elsewhere", log)
	}
}

func TestProcessIsKilledAndItsMemoryRead(t *testing.T) {
	p := relaybin.Start(t, relaybin.Released, map[string]string{
		"OUTBOX_DATABASE_URL": "postgres://127.0.0.1:1/nowhere",
		"OUTBOX_SINK_URL":     "nats://127.0.0.1:1",
		"OUTBOX_LOG_FORMAT":   "json",
	})
	p.AwaitLog("database")
	if peak := p.PeakMemory(); peak < 1<<20 || peak > 1<<30 {
		t.Errorf("peak memory = %d bytes", peak)
	}
	p.Kill()
	if code := p.Wait(time.Second); code != -1 {
		t.Errorf("exit status = %d after SIGKILL, want -1", code)
	}
}
