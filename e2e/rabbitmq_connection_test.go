package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/faultproxy"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
	"github.com/outbox-relay/outbox-relay/relay/admin"
)

// proxyNode puts a proxy between the relays, as that user, and RabbitMQ.
func (w *rabbitWorld) proxyNode(user, password string) *faultproxy.Proxy {
	w.t.Helper()
	proxy, err := faultproxy.Start(w.t.Context(), w.server.Addr())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = proxy.Close() })
	w.env["OUTBOX_SINK_URL"] = "amqp://" + user + ":" + password + "@" + proxy.Addr() + "/"
	return proxy
}

// A connection that goes dead without an end, under load: no byte comes or goes,
// and nobody is told.
func TestRabbitMQHalfOpenConnectionIsNoticedUnderLoad(t *testing.T) {
	t.Parallel()
	w := newRabbitWorld(t, sharedNode(t), quorum)
	proxy := w.proxyNode("guest", "guest")
	load := w.load(oracle.Load{Rate: 200, Seed: 68})
	relay := w.relay("OUTBOX_MAX_ATTEMPTS", "1", "OUTBOX_DEAD_AFTER", "1ms")
	w.awaitMarked(200)
	proxy.Stall(true)
	const limit = 30 * time.Second
	began := time.Now()
	w.awaitFor(limit, "the loss is logged", func() bool { return relay.CountLog("connection to RabbitMQ lost") > 0 })
	t.Logf("noticed after %v: %s", time.Since(began).Round(100*time.Millisecond), relay.AwaitLog("connection to RabbitMQ lost"))
	w.awaitTold(relay, told{
		status: func(r admin.Report) bool { return r.SinkDown != "" },
		above:  []string{"outbox_breaker_open"},
		log:    []string{`"level":"WARN"`, "the broker takes no messages"},
	})
	// What the proxy still holds of the dead connection is lost with it.
	proxy.Cut()
	proxy.Stall(false)
	w.awaitMarked(w.marked() + 200)
	w.stop(load, 1000)
	w.awaitDrained()
	if n := relay.CountLog("connection to RabbitMQ lost"); n != 1 {
		t.Errorf("the connection was lost %d times, want once", n)
	}
	relay.Terminate()
	w.untouched()
	w.verdict(oracle.Limits{Redeliveries: window})
}

// A relay that is deployed before its user: it says so, waits, and needs no
// restart.
func TestRabbitMQUserThatComesLater(t *testing.T) {
	t.Parallel()
	w := newRabbitWorld(t, sharedNode(t), quorum)
	const password = "hunter2-broker"
	user := w.role
	proxy := w.proxyNode(user, password)
	load := w.load(oracle.Load{Rate: 200, Seed: 69})
	relay := w.relay("OUTBOX_MAX_ATTEMPTS", "1", "OUTBOX_DEAD_AFTER", "1ms")
	relay.AwaitLog(`"level":"WARN"`, "cannot connect to RabbitMQ", user, "check OUTBOX_SINK_URL")
	const tries = 3
	w.await("the relay tries again", func() bool { return proxy.Accepted() >= tries })
	w.await("rows wait", func() bool { return w.pending() > 500 })
	if n := relay.CountLog("cannot connect to RabbitMQ"); n > 4 { // one at once, and another every half a minute
		t.Errorf("one fault was logged %d times", n)
	}
	status := w.rawStatus(relay)
	if !strings.Contains(status, "check OUTBOX_SINK_URL") {
		t.Errorf("the status does not say what to do: %s", status)
	}
	w.awaitTold(relay, told{
		status: func(r admin.Report) bool { return strings.Contains(r.SinkDown, user) },
		above:  []string{"outbox_breaker_open"},
		log:    []string{`"level":"WARN"`, "cannot connect to RabbitMQ"},
	})
	w.untouched()
	w.ctl("add_user", user, password)
	w.ctl("set_permissions", "-p", "/", user, "", ".*", "")
	w.awaitMarked(500)
	w.stop(load, 500)
	w.awaitDrained()
	status += w.rawStatus(relay)
	relay.Terminate()
	for place, text := range map[string]string{"log": relay.Log(), "status": status} {
		if strings.Contains(text, password) {
			t.Errorf("the %s shows the password", place)
		}
	}
	w.untouched()
	w.verdict(oracle.Limits{})
}

// Others of the relay's user have taken all channels that it may have: the relay says so,
// and goes on when they have left some. (That a user may have too few is
// TestUserWithFewChannelsIsTold.)
func TestRabbitMQUserWithoutAFreeChannelIsTold(t *testing.T) {
	t.Parallel()
	w := newRabbitWorld(t, sharedNode(t), quorum)
	const most = 20
	user, password := w.role, "relay-broker"
	w.ctl("add_user", user, password)
	w.ctl("set_permissions", "-p", "/", user, "", ".*", "")
	w.ctl("set_user_limits", user, fmt.Sprintf(`{"max-channels": %d}`, most))
	others, err := amqp.Dial(w.server.URLAs(user, password))
	if err != nil {
		t.Fatal(err)
	}
	defer others.Close()
	for range most - 1 {
		if _, err := others.Channel(); err != nil {
			t.Fatal(err)
		}
	}
	w.env["OUTBOX_SINK_URL"] = w.server.URLAs(user, password)
	w.insert(plain(1))
	relay := w.relay()
	const reason = "maximum allowed user limit"
	limit := told{
		status: func(r admin.Report) bool { return strings.Contains(r.SinkDown, reason) },
		above:  []string{"outbox_breaker_open"},
		log:    []string{`"level":"WARN"`, reason},
	}
	w.awaitTold(relay, limit)
	if err := others.Close(); err != nil {
		t.Fatal(err)
	}
	w.awaitDrained()
	w.awaitCalm(relay, limit)
	relay.Terminate()
	w.untouched()
	w.verdict(oracle.Limits{})
}

// rawStatus is /status as it is served.
func (w *world) rawStatus(p *relaybin.Process) string {
	w.t.Helper()
	request, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, "http://"+p.HTTPAddr()+"/status", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		w.t.Fatalf("ask the relay for its status: %v", err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		w.t.Fatalf("read the relay's status: %v", err)
	}
	return string(text)
}
