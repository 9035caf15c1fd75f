package natsserver_test

import (
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/await"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/natsserver"
)

func TestStreamsAndAddressSurviveAStop(t *testing.T) {
	eachKind(t, natsserver.Options{}, func(t *testing.T, b broker, stop func() error) {
		url := b.URL()
		conn := connect(t, url)
		publish(t, stream(t, conn), 1, 100)
		if err := b.Restart(t.Context()); !errors.Is(err, testbed.ErrRunning) {
			t.Errorf("restart of a running server: %v, want ErrRunning", err)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if err := stop(); err != nil {
			t.Error("second stop:", err)
		}
		await.Until(t, "the loss of the connection", conn.IsClosed)
		if again, err := nats.Connect(url); err == nil {
			again.Close()
			t.Fatal("a stopped server answers")
		}
		if err := b.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		if b.URL() != url {
			t.Errorf("address %s became %s", url, b.URL())
		}
		if sequence := publish(t, stream(t, connect(t, url)), 101, 101); sequence != 101 {
			t.Errorf("sequence %d after the restart, want 101", sequence)
		}
	})
}

func TestConfigurationIsObeyed(t *testing.T) {
	config := `
		max_payload: 2048
		authorization { user: relay, password: secret }`
	eachKind(t, natsserver.Options{Config: config}, func(t *testing.T, b broker, _ func() error) {
		if _, err := nats.Connect(b.URL()); !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("connect without a password: %v, want an authorization error", err)
		}
		conn := connect(t, b.URL(), nats.UserInfo("relay", "secret"))
		if conn.MaxPayload() != 2048 {
			t.Errorf("max payload %d, want 2048", conn.MaxPayload())
		}
	})
}

func TestClusterElectsALeader(t *testing.T) {
	c, err := natsserver.StartCluster(t.Context(), 3, natsserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeBroker(t, c) })
	js, err := jetstream.New(connect(t, c.URLs()))
	if err != nil {
		t.Fatal(err)
	}
	await.Until(t, "a stream of three replicas", func() bool {
		_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}, Replicas: 3})
		return err == nil
	})
	publish(t, js, 1, 1)
}

func TestJetStreamCanBeSwitchedOff(t *testing.T) {
	eachKind(t, natsserver.Options{Config: "jetstream: false"}, func(t *testing.T, b broker, _ func() error) {
		js, err := jetstream.New(connect(t, b.URL()))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.AccountInfo(t.Context()); !errors.Is(err, jetstream.ErrJetStreamNotEnabled) {
			t.Errorf("account info: %v, want JetStream not enabled", err)
		}
	})
}

func TestNamedStoreIsKept(t *testing.T) {
	for name, start := range kinds {
		t.Run(name, func(t *testing.T) {
			o := natsserver.Options{Dir: t.TempDir()}
			for run := range uint64(2) {
				b, _, err := start(t.Context(), o)
				if err != nil {
					t.Fatal(err)
				}
				conn := connect(t, b.URL())
				sequence := publish(t, stream(t, conn), 1, 1)
				closeConn(t, conn)
				closeBroker(t, b)
				if sequence != run+1 {
					t.Errorf("run %d: sequence %d", run, sequence)
				}
			}
			if _, err := os.Stat(o.Dir); err != nil {
				t.Error("the named store is gone:", err)
			}
		})
	}
}

func TestFailedStartTellsWhy(t *testing.T) {
	taken, err := natsserver.StartInProcess(t.Context(), natsserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeBroker(t, taken) })
	_, text, err := net.SplitHostPort(taken.Addr())
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	for name, start := range kinds {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			_, _, err := start(t.Context(), natsserver.Options{Port: port})
			if err == nil || !strings.Contains(err.Error(), "address already in use") {
				t.Errorf("start on a port in use: %v", err)
			}
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("the fault was reported after %v", took)
			}
			_, _, err = start(t.Context(), natsserver.Options{Config: "max_payload: many"})
			if err == nil || !strings.Contains(err.Error(), "nats.conf:4") {
				t.Errorf("start with a wrong configuration: %v", err)
			}
		})
	}
}

func TestCloseIsFinalAndIdempotent(t *testing.T) {
	eachKind(t, natsserver.Options{}, func(t *testing.T, b broker, _ func() error) {
		closeBroker(t, b)
		closeBroker(t, b)
		if err := b.Restart(t.Context()); err == nil {
			t.Error("a closed server can be started again")
		}
	})
}
