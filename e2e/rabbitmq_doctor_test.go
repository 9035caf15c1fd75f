package e2e_test

import (
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
)

// doctor runs the command and returns its exit status and what it printed.
func (w *rabbitWorld) doctor() (status int, out string) {
	w.t.Helper()
	p := relaybin.Start(w.t, relaybin.Tested, w.env, "doctor")
	status = p.Wait(patience)
	return status, p.Log()
}

// The doctor examines the broker that the sink URL names, and its fix for a
// missing exchange is what makes it content.
func TestDoctorExaminesRabbitMQ(t *testing.T) {
	t.Parallel()
	w := newRabbitWorld(t, sharedNode(t), nil)
	w.insert(plain(0))
	if status, out := w.doctor(); status != 0 || !strings.Contains(out, "RabbitMQ connection") {
		t.Errorf("exit status %d where nothing is wrong:\n%s", status, out)
	}
	w.admin(func(ch *amqp.Channel) error { return ch.ExchangeDelete(w.exchange, false, false) })
	if status, out := w.doctor(); status != 1 || !strings.Contains(out, w.exchange) {
		t.Errorf("exit status %d without the exchange:\n%s", status, out)
	}
	w.declareExchange()
	if status, out := w.doctor(); status != 0 {
		t.Errorf("exit status %d once it is there again:\n%s", status, out)
	}
}
