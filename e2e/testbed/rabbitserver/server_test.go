package rabbitserver_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"go.uber.org/goleak"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/rabbitserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// One node for everything: each takes seconds to start.
func TestLifeOfANode(t *testing.T) {
	s, err := rabbitserver.Start(t.Context(), rabbitserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	publish(t, s.URL(), "kept", "before")
	if err := s.SaveDeclarations(t.Context()); err != nil {
		t.Fatal(err)
	}

	for _, step := range []struct {
		name string
		end  func() error
	}{{"kill", s.Kill}, {"stop", func() error { return s.Stop(t.Context()) }}} {
		pid := s.Pid()
		if err := s.Restart(t.Context()); !errors.Is(err, testbed.ErrRunning) {
			t.Errorf("restart of a running node: %v", err)
		}
		if err := step.end(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d after %s: %v", pid, step.name, err)
		}
		if err := s.Restart(t.Context()); err != nil {
			t.Fatalf("restart after %s: %v", step.name, err)
		}
		if n := count(t, s.URL(), "kept"); n != 1 {
			t.Errorf("after %s there are %d messages, want 1", step.name, n)
		}
	}
	out, err := s.Ctl(t.Context(), "list_queues", "name")
	if err != nil || !strings.Contains(out, "kept") {
		t.Errorf("list_queues: %q, %v", out, err)
	}
	if _, err := s.Ctl(t.Context(), "no_such_command"); err == nil {
		t.Error("a command that does not exist succeeded")
	}
	pid, path := s.Pid(), s.Path()
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d after Close: %v", pid, err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("directory after Close: %v", err)
	}
}

func TestStartEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := rabbitserver.Start(ctx, rabbitserver.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("start with a cancelled context: %v", err)
	}
}

func channel(t *testing.T, url string) *amqp.Channel {
	t.Helper()
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

func publish(t *testing.T, url, queue, text string) {
	t.Helper()
	ch := channel(t, url)
	if _, err := ch.QueueDeclare(queue, true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	dc, err := ch.PublishWithDeferredConfirm("", queue, true, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte(text)})
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := dc.WaitContext(t.Context()); err != nil || !ok {
		t.Fatalf("confirmed %v: %v", ok, err)
	}
}

func count(t *testing.T, url, queue string) int {
	t.Helper()
	q, err := channel(t, url).QueueDeclarePassive(queue, true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	return q.Messages
}
