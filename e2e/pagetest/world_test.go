package pagetest

import (
	"fmt"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/natsserver"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

const token = "a-token-of-sixteen"

// world is a table, a broker and what a relay needs to work between them.
type world struct {
	*testing.T
	conn   *pgx.Conn
	broker *natsserver.Process
	env    map[string]string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	url := pgtest.Database(t)
	broker, err := natsserver.StartProcess(t.Context(), natsserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = broker.Close() })
	w := &world{T: t, broker: broker, env: map[string]string{
		"OUTBOX_DATABASE_URL": url, "OUTBOX_SINK_URL": broker.URL(), "OUTBOX_ADMIN_TOKEN": token, "OUTBOX_RETRY_MAX": "1s",
	}}
	if p := relaybin.Start(t, relaybin.Tested, w.env, "migrate"); p.Wait(patience) != 0 {
		t.Fatal(p.Log())
	}
	w.conn = pgtest.Connect(t, url)
	w.stream()
	return w
}

func (w *world) stream() {
	w.Helper()
	nc, err := nats.Connect(w.broker.URL())
	if err != nil {
		w.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		w.Fatal(err)
	}
	if _, err := js.CreateOrUpdateStream(w.Context(), jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}}); err != nil {
		w.Fatal(err)
	}
}

func (w *world) relay(more ...string) *relaybin.Process {
	w.Helper()
	env := make(map[string]string)
	for name, value := range w.env {
		env[name] = value
	}
	for i := 0; i < len(more); i += 2 {
		env[more[i]] = more[i+1]
	}
	p := relaybin.Start(w.T, relaybin.Tested, env)
	p.AwaitLog(`"msg":"starting"`)
	return p
}

func (w *world) exec(sql string, args ...any) {
	w.Helper()
	if _, err := w.conn.Exec(w.Context(), sql, args...); err != nil {
		w.Fatalf("%s: %v", sql, err)
	}
}

func (w *world) count(where string, args ...any) (n int) {
	w.Helper()
	if err := w.conn.QueryRow(w.Context(), "SELECT count(*) FROM outbox WHERE "+where, args...).Scan(&n); err != nil {
		w.Fatal(err)
	}
	return n
}

func (w *world) open(relay *relaybin.Process, width, height int64) *tab {
	w.Helper()
	b := newTab(w.T, width, height)
	b.visit(fmt.Sprintf("http://%s/", relay.HTTPAddr()))
	return b
}
