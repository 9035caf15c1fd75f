package e2e_test

import (
	"context"
	"maps"
	"strings"
	"sync"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgserver"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/rabbitserver"
)

// node is RabbitMQ for the tests of this package that do not stop it, started by
// the first of them.
var node struct {
	once   sync.Once
	server *rabbitserver.Server
	err    error
}

func sharedNode(t testing.TB) *rabbitserver.Server {
	t.Helper()
	node.once.Do(func() {
		node.server, node.err = rabbitserver.Start(context.WithoutCancel(t.Context()), rabbitserver.Options{})
	})
	if node.err != nil {
		t.Fatal(node.err)
	}
	return node.server
}

func closeSharedNode() error {
	if node.server == nil {
		return nil
	}
	return node.server.Close()
}

// ownNode is for a test that kills it, or does what all its clients feel.
func ownNode(t testing.TB) *rabbitserver.Server {
	t.Helper()
	s, err := rabbitserver.Start(t.Context(), rabbitserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close RabbitMQ: %v", err)
		}
	})
	return s
}

// rabbitWorld is a world whose relays publish to RabbitMQ, to an exchange and a
// queue of the test's own.
type rabbitWorld struct {
	*world
	server   *rabbitserver.Server
	exchange string
	queue    string
	args     amqp.Table // of the queue
	drained  []oracle.Delivery
	watch    *amqp.Connection // for looking at the queue; nil while there is none
}

func newRabbitWorld(t testing.TB, s *rabbitserver.Server, args amqp.Table) *rabbitWorld {
	t.Helper()
	return newRabbitWorldOn(t, s, args, nil)
}

func newRabbitWorldOn(t testing.TB, s *rabbitserver.Server, args amqp.Table, cluster *pgserver.Server) *rabbitWorld {
	t.Helper()
	w := &rabbitWorld{world: newWorld(t, worldOptions{rabbitmq: true, cluster: cluster}), server: s, args: args}
	w.exchange = w.role + ".exchange"
	w.queue = w.role + ".queue"
	w.declareExchange()
	w.declareQueue()
	w.env["OUTBOX_SINK_URL"] = s.URL()
	w.env["OUTBOX_RABBITMQ_EXCHANGE"] = w.exchange
	w.storedNow = func() int { return len(w.drained) + w.messages() }
	w.collect = func(context.Context) ([]oracle.Delivery, error) {
		w.drain()
		return w.drained, nil
	}
	t.Cleanup(func() {
		if w.watch != nil {
			_ = w.watch.Close()
		}
	})
	return w
}

// saveDeclarations goes before a kill of the node. A quorum queue that was declared a
// moment before does not come back.
func (w *rabbitWorld) saveDeclarations() {
	w.t.Helper()
	if err := w.server.SaveDeclarations(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// admin does one thing on a connection of its own: nodes come and go here.
func (w *rabbitWorld) admin(do func(*amqp.Channel) error) {
	w.t.Helper()
	conn, err := amqp.Dial(w.server.URL())
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := do(ch); err != nil {
		w.t.Fatal(err)
	}
}

func (w *rabbitWorld) declareExchange() {
	w.t.Helper()
	w.admin(func(ch *amqp.Channel) error {
		return ch.ExchangeDeclare(w.exchange, amqp.ExchangeTopic, true, false, false, false, nil)
	})
}

func (w *rabbitWorld) declareQueue() {
	w.t.Helper()
	w.admin(func(ch *amqp.Channel) error {
		if _, err := ch.QueueDeclare(w.queue, true, false, false, false, maps.Clone(w.args)); err != nil {
			return err
		}
		return ch.QueueBind(w.queue, "oracle.#", w.exchange, false, nil)
	})
}

// messages is the number of messages in the queue, or 0 while that cannot be
// known.
func (w *rabbitWorld) messages() int {
	if w.watch == nil || w.watch.IsClosed() {
		var err error
		if w.watch, err = amqp.Dial(w.server.URL()); err != nil {
			w.watch = nil
			return 0
		}
	}
	ch, err := w.watch.Channel()
	if err != nil {
		return 0
	}
	defer ch.Close()
	q, err := ch.QueueDeclarePassive(w.queue, true, false, false, false, nil)
	if err != nil {
		return 0
	}
	return q.Messages
}

// drain consumes what the queue has.
func (w *rabbitWorld) drain() {
	w.t.Helper()
	more, err := oracle.CollectQueue(context.WithoutCancel(w.t.Context()), w.server.URL(), w.queue)
	if err != nil {
		w.t.Fatal(err)
	}
	before := uint64(len(w.drained))
	for _, d := range more {
		d.StreamSeq += before
		w.drained = append(w.drained, d)
	}
}

func (w *rabbitWorld) ctl(args ...string) {
	w.t.Helper()
	if _, err := w.server.Ctl(w.t.Context(), args...); err != nil {
		w.t.Fatal(err)
	}
}

// killAndRestart ends the node as kill -9 does, and starts it again.
func (w *rabbitWorld) killAndRestart() {
	w.t.Helper()
	if err := w.server.Kill(); err != nil {
		w.t.Fatal(err)
	}
	if err := w.server.Restart(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// marked is the number of rows that are marked sent.
func (w *world) marked() int {
	w.t.Helper()
	return w.count(`SELECT count(*) FROM {outbox} WHERE sent_at IS NOT NULL`)
}

// untouched demands that no row carries an attempt, an error or a death.
func (w *world) untouched() {
	w.t.Helper()
	var n int
	var example string
	w.row(`SELECT count(*), coalesce(max(last_error), '') FROM {outbox} WHERE attempts > 0 OR dead_at IS NOT NULL`, nil, &n, &example)
	if n > 0 {
		w.t.Errorf("%d rows have attempts or are dead, though it was not their fault: %s", n, strings.TrimSpace(example))
	}
}
