package rabbitmq_test

import (
	"log/slog"
	"strings"
	"sync"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/transcript"
	"github.com/outbox-relay/outbox-relay/relay"
)

// The broker's process that reads the connection stands still while nothing is in
// flight, since the exchange was missing. Its heartbeats go on, so that only a
// probe can tell. Not parallel: whoever asks for all connections waits for the one
// that stands still.
func TestBrokerThatAnswersNoProbeIsGivenUp(t *testing.T) {
	p := newPlace(t, amqp.QueueTypeClassic)
	p.queue("all", "#", nil)
	log := &transcript.Text{}
	o := p.options()
	o.Name, o.Logger = "probed "+p.exchange, slog.New(slog.NewTextHandler(log, nil))
	s := open(t, o)
	reach(t, s)
	if err := p.ch.ExchangeDelete(p.exchange, false, false); err != nil {
		t.Fatal(err)
	}
	expect(t, s, messageTo("a", 1), relay.Unavailable, relay.ErrorTypeNotReady, "does not exist")
	resume := suspendReader(t, o.Name)
	p.declareExchange()
	if err := p.ch.QueueBind(p.exchange+"-all", "#", p.exchange, false, nil); err != nil {
		t.Fatal(err)
	}
	reach(t, s)
	resume()
	if text := log.String(); strings.Count(text, "the broker has stopped answering") != 1 {
		t.Errorf("the connection was not given up once:\n%s", text)
	}
	expect(t, s, messageTo("a", 2), relay.Acknowledged, "", "")
}

// suspendReader stops the broker's process that reads the connection with this
// name, until resume.
func suspendReader(t *testing.T, name string) (resume func()) {
	t.Helper()
	process := strings.TrimSpace(ctl(t, "eval", `[P] = [C || `+namedConnections(name)+`], sys:suspend(P), pid_to_list(P).`))
	resume = sync.OnceFunc(func() { ctl(t, "eval", `sys:resume(list_to_pid(`+process+`)).`) })
	t.Cleanup(resume)
	return resume
}
