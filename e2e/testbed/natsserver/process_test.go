package natsserver_test

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/natsserver"
)

func startProcess(t *testing.T) *natsserver.Process {
	t.Helper()
	p, err := natsserver.StartProcess(t.Context(), natsserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeBroker(t, p) })
	return p
}

func TestPausedServerKeepsConnectionsAndAnswersLater(t *testing.T) {
	p := startProcess(t)
	conn := connect(t, p.URL())
	if err := conn.FlushTimeout(time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := p.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := conn.FlushTimeout(300 * time.Millisecond); !errors.Is(err, nats.ErrTimeout) {
		t.Errorf("a paused server answers: %v", err)
	}
	if !conn.IsConnected() {
		t.Error("the pause closed the connection")
	}
	if err := p.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := conn.FlushTimeout(time.Minute); err != nil {
		t.Errorf("a resumed server does not answer: %v", err)
	}
}

func TestPausedServerCanBeKilled(t *testing.T) {
	p := startProcess(t)
	pid := p.Pid()
	if err := p.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d after the kill: %v", pid, err)
	}
	if err := p.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p.Pid() == pid {
		t.Error("the restarted server is the same process")
	}
}

func TestStartEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, start := range kinds {
		if _, _, err := start(ctx, natsserver.Options{}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: start with a cancelled context: %v", name, err)
		}
	}
}
