package natsserver_test

import (
	"context"
	"errors"
	"strconv"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/await"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/natsserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// broker is what both kinds of server have in common.
type broker interface {
	URL() string
	Addr() string
	Restart(ctx context.Context) error
	Close() error
}

// kinds are the two ways to run a server and, for each, the way to stop it.
var kinds = map[string]func(context.Context, natsserver.Options) (broker, func() error, error){
	"in process": func(ctx context.Context, o natsserver.Options) (broker, func() error, error) {
		s, err := natsserver.StartInProcess(ctx, o)
		if err != nil {
			return nil, nil, err
		}
		return s, func() error { s.Shutdown(); return nil }, nil
	},
	"process": func(ctx context.Context, o natsserver.Options) (broker, func() error, error) {
		p, err := natsserver.StartProcess(ctx, o)
		if err != nil {
			return nil, nil, err
		}
		return p, p.Kill, nil
	},
}

// eachKind runs a test with both kinds of server.
func eachKind(t *testing.T, o natsserver.Options, test func(t *testing.T, b broker, stop func() error)) {
	t.Helper()
	for name, start := range kinds {
		t.Run(name, func(t *testing.T) {
			b, stop, err := start(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { closeBroker(t, b) })
			test(t, b, stop)
		})
	}
}

func closeBroker(t *testing.T, b interface{ Close() error }) {
	t.Helper()
	if err := b.Close(); err != nil {
		t.Error("close the server:", err)
	}
}

// connect opens a connection that does not come back by itself.
func connect(t *testing.T, url string, options ...nats.Option) *nats.Conn {
	t.Helper()
	conn, err := natsserver.Connect(url, append(options, nats.NoReconnect())...)
	if err != nil {
		t.Fatal("connect:", err)
	}
	t.Cleanup(func() { closeConn(t, conn) })
	return conn
}

// closeConn waits for the connection's goroutines.
func closeConn(t *testing.T, conn *nats.Conn) {
	t.Helper()
	conn.Close()
	await.Until(t, "the end of the connection", conn.IsClosed)
}

func stream(t *testing.T, conn *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := natsserver.JetStream(conn)
	if err != nil {
		t.Fatal(err)
	}
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}})
	if err != nil && !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		t.Fatal(err)
	}
	return js
}

// publish publishes messages from first to last and returns the last sequence.
func publish(t *testing.T, js jetstream.JetStream, first, last int) uint64 {
	t.Helper()
	var sequence uint64
	for i := first; i <= last; i++ {
		ack, err := js.Publish(t.Context(), "s.x", []byte(strconv.Itoa(i)))
		if err != nil {
			t.Fatalf("publish %d: %v", i, err)
		}
		sequence = ack.Sequence
	}
	return sequence
}
