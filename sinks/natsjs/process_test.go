package natsjs_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/natsserver"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
	"github.com/outbox-relay/outbox-relay/sinks/natsjs"
)

// startPlain starts a server without streams.
func startPlain(t *testing.T, config string) *natsserver.Server {
	t.Helper()
	s, err := natsserver.StartInProcess(t.Context(), natsserver.Options{Config: config})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestKilledAndFrozenServer(t *testing.T) {
	p, err := natsserver.StartProcess(t.Context(), natsserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	s := open(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: p.URL(), Topology: natsjs.Create, AckTimeout: 3 * time.Second}})
	reach(t, s)
	expect(t, s, messageTo(goodTopic, 1), relay.Acknowledged, "", "")

	for i := range 3 {
		if err := p.Kill(); err != nil {
			t.Fatal(err)
		}
		if o := await(t, s, messageTo(goodTopic, 10+i)); o.Class != relay.Unknown && o.Class != relay.Unavailable {
			t.Errorf("message to a killed server is %s %q (%v)", o.Class, o.Type, o.Err)
		}
		if err := p.Restart(context.WithoutCancel(t.Context())); err != nil {
			t.Fatal(err)
		}
		reach(t, s)
		expect(t, s, messageTo(goodTopic, 20+i), relay.Acknowledged, "", "")
	}

	if err := p.Pause(); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	expect(t, s, messageTo(goodTopic, 30), relay.Unknown, relay.ErrorTypeUnresponsive, "")
	if d := time.Since(begin); d > 30*time.Second {
		t.Errorf("a frozen server was noticed after %s", d)
	}
	if err := p.Resume(); err != nil {
		t.Fatal(err)
	}
	reach(t, s)
	// What was in flight was stored when the server went on.
	if o := await(t, s, messageTo(goodTopic, 30)); o.Class != relay.Acknowledged || !o.Duplicate {
		t.Errorf("the message again is %s %q (%v), duplicate %v", o.Class, o.Type, o.Err, o.Duplicate)
	}
}

// A server whose limit is lowered tells its clients only with the error for
// which it closes the connection.
func TestLimitLoweredUnderALivingConnection(t *testing.T) {
	options := &server.Options{
		Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true, MaxPayload: 65536,
	}
	nats, err := server.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	nats.Start()
	t.Cleanup(func() {
		nats.Shutdown()
		nats.WaitForShutdown()
	})
	if !nats.ReadyForConnections(time.Minute) {
		t.Fatal("the server does not accept connections")
	}
	s := open(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: nats.ClientURL(), Topology: natsjs.Create}})
	reach(t, s)
	lowered := options.Clone()
	lowered.MaxPayload = 1024
	if err := nats.ReloadOptions(lowered); err != nil {
		t.Fatal(err)
	}
	large := messageTo(goodTopic, 1)
	large.Payload = make([]byte, 4096)
	expect(t, s, large, relay.Rejected, relay.ErrorTypeTooLarge, "")
	reach(t, s)
	if n := s.MaxMessageBytes(); n != 1024 {
		t.Errorf("limit is %d, want 1024", n)
	}
	expect(t, s, messageTo(goodTopic, 2), relay.Acknowledged, "", "")
}
