package e2e_test

import (
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
)

const keyWindow = 64

// killUnderOneKey kills the node and the relay in turn while many rows of one key are on
// their way. Nothing is refused, so the order is strict.
func killUnderOneKey(t *testing.T, kills int, seed uint64) {
	t.Helper()
	w := newRabbitWorld(t, ownNode(t), quorum)
	load := w.load(oracle.Load{Rate: 300, Keys: 1, Seed: seed})
	relay := w.relay("OUTBOX_KEY_WINDOW", "64")
	w.saveDeclarations()
	for i := range kills {
		w.awaitMarked(w.marked() + 200)
		if i%2 == 0 {
			w.killAndRestart()
			continue
		}
		relay.Kill()
		relay = w.relay("OUTBOX_KEY_WINDOW", "64")
	}
	w.awaitMarked(w.marked() + 200)
	w.stop(load, 800)
	w.awaitDrained()
	relay.Terminate()
	w.verdict(oracle.Limits{Redeliveries: kills * window, KeyWindow: keyWindow})
}

func TestRabbitMQOneKeyWithAWindowKeepsItsOrderUnderKills(t *testing.T) {
	t.Parallel()
	killUnderOneKey(t, 4, 80)
}

// One of two topics of a key has no queue for a while, so its rows are refused. Rows that
// are behind them within the window overtake them, and no others.
func TestRabbitMQRefusedRowIsOvertakenWithinItsWindow(t *testing.T) {
	t.Parallel()
	w := newRabbitWorld(t, sharedNode(t), quorum)
	load := w.load(oracle.Load{Rate: 400, Keys: 1, Seed: 81})
	relay := w.relay("OUTBOX_KEY_WINDOW", "64")
	w.awaitMarked(500)
	bind := func(to string) error {
		var err error
		w.admin(func(ch *amqp.Channel) error { err = ch.QueueBind(w.queue, to, w.exchange, false, nil); return err })
		return err
	}
	if err := bind("oracle.a"); err != nil {
		t.Fatal(err)
	}
	w.admin(func(ch *amqp.Channel) error { return ch.QueueUnbind(w.queue, "oracle.#", w.exchange, nil) })
	w.await("rows are refused", func() bool {
		return w.count(`SELECT count(*) FROM {outbox} WHERE attempts > 0`) > 0
	})
	if err := bind("oracle.#"); err != nil {
		t.Fatal(err)
	}
	w.awaitMarked(w.marked() + 500)
	w.stop(load, 1000)
	w.awaitDrained()
	relay.Terminate()
	w.verdict(oracle.Limits{Redeliveries: window, KeyWindow: keyWindow})
}
