package e2e_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/faultproxy"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
)

// deadWorld is a world of either broker, and how a topic that nothing takes is given a
// place.
type deadWorld struct {
	*world
	repair func()
	proxy  func() *faultproxy.Proxy                     // put between relays and broker
	peek   func(topic string, each func(amqp.Delivery)) // of RabbitMQ's queue
}

// lost is a topic that nothing takes before the repair.
const lost = "lost.orders"

// onBothBrokers runs a test with NATS and with RabbitMQ.
func onBothBrokers(t *testing.T, test func(t *testing.T, w *deadWorld)) {
	t.Parallel()
	t.Run("NATS", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, worldOptions{})
		test(t, &deadWorld{world: w, proxy: w.proxyBroker, repair: func() {
			stream, err := w.js.Stream(t.Context(), streamName)
			if err != nil {
				t.Fatal(err)
			}
			config := stream.CachedInfo().Config
			config.Subjects = append(config.Subjects, "lost.>")
			if _, err := w.js.UpdateStream(t.Context(), config); err != nil {
				t.Fatal(err)
			}
		}})
	})
	t.Run("RabbitMQ", func(t *testing.T) {
		t.Parallel()
		w := newRabbitWorld(t, sharedNode(t), nil)
		test(t, &deadWorld{
			world: w.world,
			repair: func() {
				w.admin(func(ch *amqp.Channel) error { return ch.QueueBind(w.queue, "lost.#", w.exchange, false, nil) })
			},
			proxy: func() *faultproxy.Proxy { return w.proxyNode("guest", "guest") },
			peek:  w.peek,
		})
	})
}

// dead runs a command on dead rows to its end and returns what it printed.
func (w *deadWorld) dead(args ...string) string {
	w.t.Helper()
	p := relaybin.Start(w.t, relaybin.Tested, w.env, append([]string{"dead"}, args...)...)
	if status := p.Wait(patience); status != 0 {
		w.t.Fatalf("dead %s: exit status %d: %s", strings.Join(args, " "), status, p.Log())
	}
	return p.Log()
}

func (w *deadWorld) deadRows() int {
	w.t.Helper()
	return w.count(`SELECT count(*) FROM {outbox} WHERE sent_at IS NULL AND dead_at IS NOT NULL`)
}

// delivered is the ids of the rows whose messages the broker has, in its order.
func (w *deadWorld) delivered() []int64 {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	messages, err := w.collect(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	rows := make(map[string]int64)
	var all string
	w.row(`SELECT coalesce(string_agg(message_id || ' ' || id, ','), '') FROM {outbox}`, nil, &all)
	for pair := range strings.SplitSeq(all, ",") {
		var id int64
		messageID, text, _ := strings.Cut(pair, " ")
		if _, err := fmt.Sscan(text, &id); err != nil {
			w.t.Fatal(err)
		}
		rows[messageID] = id
	}
	var ids []int64
	for _, m := range messages {
		ids = append(ids, rows[m.MessageID])
	}
	return ids
}

// giveUpSoon has a refused row die at its second attempt.
var giveUpSoon = []string{"OUTBOX_MAX_ATTEMPTS", "2", "OUTBOX_DEAD_AFTER", "0"}

// A poison row among 10,000 of its own key and of others stops none of them. Corrected
// and replayed, it is delivered.
func TestPoisonRowAmongTenThousandIsCorrectedAndReplayed(t *testing.T) {
	onBothBrokers(t, func(t *testing.T, w *deadWorld) {
		w.exec(`INSERT INTO {outbox} (topic, key, payload)
			SELECT CASE WHEN n = 5000 THEN E'oracle.\x01poison' ELSE 'oracle.orders' END, CASE WHEN n % 2 = 0 THEN 'own' ELSE 'k' || n % 100 END, to_json(n)
			FROM generate_series(1, 10000) AS n`)
		relay := w.relay("OUTBOX_MAX_IN_FLIGHT", "4096") // of one key, a small window is slow
		w.await("all others are sent", func() bool { return w.marked() == 9999 && w.deadRows() == 1 })
		if said := w.dead("list", "--type", "invalid"); !strings.Contains(said, "5000 ") || strings.Contains(said, "\x01") {
			t.Errorf("dead list says %q", said)
		}
		w.exec(`UPDATE {outbox} SET topic = 'oracle.orders' WHERE id = 5000`)
		if said := w.dead("replay", "--type", "invalid", "--yes"); !strings.Contains(said, "replayed 1 row") {
			t.Errorf("dead replay says %q", said)
		}
		w.await("it is sent", func() bool { return w.marked() == 10_000 })
		relay.Terminate()
		ids := w.delivered()
		if len(ids) != 10_000 || ids[len(ids)-1] != 5000 {
			t.Errorf("%d messages, the last of row %d", len(ids), ids[len(ids)-1])
		}
		own := slices.DeleteFunc(ids[:len(ids)-1], func(id int64) bool { return id%2 != 0 })
		if !slices.IsSorted(own) {
			t.Error("the key's other rows are out of order")
		}
	})
}

// Rows that nothing takes die. The binding is repaired, and they are replayed in order.
func TestUnroutableRowsAreReplayedInOrderOnceTheBindingIsThere(t *testing.T) {
	onBothBrokers(t, func(t *testing.T, w *deadWorld) {
		const rows = 200
		w.exec(`INSERT INTO {outbox} (topic, key, payload) SELECT $1, 'k' || n % 5, to_json(n) FROM generate_series(1, $2) AS n`, lost, rows)
		relay := w.relay(giveUpSoon...)
		w.await("all are dead", func() bool { return w.deadRows() == rows })
		// The topic still has no place: dead again, each once more, with its reason.
		w.dead("replay", "--key", "k1", "--yes")
		w.await("those of the key are dead again", func() bool { return w.deadRows() == rows })
		if n := w.count(`SELECT count(*) FROM {outbox} WHERE key = 'k1' AND error_type = 'unroutable' AND attempts = 2`); n != rows/5 {
			t.Errorf("%d rows have died again after as many attempts as before, want %d", n, rows/5)
		}
		w.repair()
		if said := w.dead("replay", "--topic", "lost.*", "--type", "unroutable", "--yes"); !strings.Contains(said, fmt.Sprintf("replayed %d rows", rows)) {
			t.Errorf("dead replay says %q", said)
		}
		w.await("all are sent", func() bool { return w.marked() == rows })
		relay.Terminate()
		last := make(map[int64]int64)
		for _, id := range w.delivered() {
			if id < last[id%5] {
				t.Errorf("row %d came after row %d of its key", id, last[id%5])
			}
			last[id%5] = id
		}
	})
}

// 50,000 dead rows are replayed beside traffic. The command is killed half way, and run
// again.
func TestReplayOfFiftyThousandRowsBesideTrafficSurvivesAKill(t *testing.T) {
	onBothBrokers(t, func(t *testing.T, w *deadWorld) {
		const rows = 50_000
		w.exec(`INSERT INTO {outbox} (topic, key, payload, dead_at, attempts, last_error, error_type)
			SELECT 'oracle.dead', 'dead-' || n % 500, to_json(n), now(), 10, 'full: the queue was', 'full' FROM generate_series(1, $1) AS n`, rows)
		relay := w.relay()
		load := w.load(oracle.Load{Rate: 300, Seed: 11})
		first := relaybin.Start(t, relaybin.Tested, w.env, "dead", "replay", "--all", "--yes")
		w.await("half of them are replayed", func() bool { return w.deadRows() < rows/2 })
		first.Kill()
		// The statement that was killed may still be committed meanwhile.
		if said := w.dead("replay", "--all", "--yes"); !strings.Contains(said, "replayed ") {
			t.Errorf("the second replay says %q", said)
		}
		w.stop(load, 1)
		w.awaitFor(3*patience, "all is settled", func() bool { return w.pending() == 0 })
		relay.Terminate()
		if n := w.deadRows(); n != 0 {
			t.Errorf("%d rows are dead", n)
		}
		last := make(map[int64]int64)
		came := 0
		for _, id := range w.delivered() {
			if id > rows {
				continue
			}
			came++
			if id < last[id%500] {
				t.Errorf("row %d came after row %d of its key", id, last[id%500])
			}
			last[id%500] = id
		}
		if came != rows {
			t.Errorf("%d of the dead rows were delivered, want %d", came, rows)
		}
	})
}

// With OUTBOX_DEAD_POLICY=block nothing passes a dead row of its key: not when the leader
// is killed, not by polling, not by the log. A replay lets the key go on, in order.
func TestBlockedKeyStaysBlockedAcrossKills(t *testing.T) {
	onBothBrokers(t, func(t *testing.T, w *deadWorld) {
		w.exec(`INSERT INTO {outbox} (topic, key, payload) SELECT CASE WHEN n = 1 THEN 'oracle. bad' || chr(1) ELSE 'oracle.orders' END, 'K', to_json(n)
			FROM generate_series(1, 50) AS n`)
		others := 0
		for round, mode := range []string{"polling", "auto", "polling", "auto"} {
			relay := w.relay("OUTBOX_DEAD_POLICY", "block", "OUTBOX_MODE", mode)
			w.await("the first row is dead", func() bool { return w.deadRows() == 1 })
			if mode == "auto" {
				relay.AwaitLog(`"tailing"`)
			}
			w.exec(`INSERT INTO {outbox} (topic, key, payload) VALUES ('oracle.orders', 'K', '0'), ('oracle.orders', 'other', '0'), ('oracle.orders', NULL, '0')`)
			others += 2
			w.await("rows of other keys are sent", func() bool { return w.marked() == others })
			if round == 3 {
				relay.Terminate()
				continue
			}
			relay.Kill()
		}
		if n := w.count(`SELECT count(*) FROM {outbox} WHERE key = 'K' AND sent_at IS NOT NULL`); n != 0 {
			t.Fatalf("%d rows have passed the dead one", n)
		}
		relay := w.relay("OUTBOX_DEAD_POLICY", "block")
		relay.AwaitLog(`"tailing"`)
		w.exec(`UPDATE {outbox} SET topic = 'oracle.orders' WHERE id = 1`)
		w.dead("replay", "--id", "1", "--yes")
		w.await("the key is sent", func() bool { return w.pending() == 0 && w.deadRows() == 0 })
		relay.Terminate()
		var ids []int64
		for _, id := range w.delivered() {
			if w.count(`SELECT count(*) FROM {outbox} WHERE id = $1 AND key = 'K'`, id) == 1 && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
		if len(ids) != 54 || !slices.IsSorted(ids) {
			t.Errorf("the key was delivered as %v", ids)
		}
	})
}

// letter is a message of the dead-letter topic.
type letter struct {
	id, payload string
	headers     map[string]string
}

// letters are the messages that the broker has of a topic.
func (w *deadWorld) letters(topic string) []letter {
	w.t.Helper()
	var list []letter
	if w.js == nil {
		w.peek(topic, func(m amqp.Delivery) {
			l := letter{m.MessageId, string(m.Body), map[string]string{}}
			for name, value := range m.Headers {
				l.headers[name] = fmt.Sprint(value)
			}
			list = append(list, l)
		})
		return list
	}
	stream, err := w.js.Stream(w.t.Context(), streamName)
	if err != nil {
		w.t.Fatal(err)
	}
	for seq := uint64(1); seq <= stream.CachedInfo().State.LastSeq; seq++ {
		m, err := stream.GetMsg(w.t.Context(), seq)
		if err != nil {
			w.t.Fatal(err)
		}
		if m.Subject != topic {
			continue
		}
		l := letter{m.Header.Get("Nats-Msg-Id"), string(m.Data), map[string]string{}}
		for name := range m.Header {
			l.headers[name] = m.Header.Get(name)
		}
		list = append(list, l)
	}
	return list
}

// Each dead row is copied to the dead-letter topic, under an id of its own, without what
// is defective. A copy that is owed when the relay is killed comes later; one that is
// refused delays nothing. A row that is replayed then is no duplicate.
func TestDeadRowsAreCopiedToTheDeadLetterTopic(t *testing.T) {
	onBothBrokers(t, func(t *testing.T, w *deadWorld) {
		const large = 300_000
		w.exec(`INSERT INTO {outbox} (topic, key, payload, headers) VALUES
			('lost.orders', 'k', '{"n": 1}', '{"kept": "yes"}'),
			(E'oracle.\x02bad', E'k\x03', '{"n": 2}', '{"kept": "yes", "Outbox-Key": "forged"}'),
			('oracle.large', 'k', to_json(repeat('x', $1)), '{}'),
			('oracle.headers', 'k', '{"n": 4}', '["no", "object"]')`, large)
		// The rows die while there is no topic for copies; the relay is killed.
		environment := append([]string{"OUTBOX_MAX_MESSAGE_BYTES", "200000"}, giveUpSoon...)
		relay := w.relay(environment...)
		w.await("all are dead", func() bool { return w.deadRows() == 4 })
		relay.Kill()

		// The topic has no place at first: copies are refused, and traffic flows.
		relay = w.relay(append(environment, "OUTBOX_DEAD_LETTER_TOPIC", "lost.dead")...)
		relay.AwaitLog("dead rows are not copied")
		w.exec(`INSERT INTO {outbox} (topic, payload) SELECT 'oracle.orders', '0' FROM generate_series(1, 500)`)
		w.await("others are sent", func() bool { return w.marked() == 500 })
		w.repair()
		copied := func() int { return w.count(`SELECT count(*) FROM {outbox} WHERE dead_letter_at IS NOT NULL`) }
		w.await("all are copied", func() bool { return copied() == 4 })
		relay.Terminate()

		byID := make(map[string]letter)
		for _, l := range w.letters("lost.dead") {
			if w.count(`SELECT count(*) FROM {outbox} WHERE message_id::text = $1`, l.id) != 0 {
				t.Errorf("a copy has the id of a row: %+v", l)
			}
			byID[l.headers["Outbox-Origin-Id"]] = l
		}
		if len(byID) != 4 {
			t.Fatalf("%d rows have copies: %v", len(byID), byID)
		}
		one, bad, big, headers := byID["1"], byID["2"], byID["3"], byID["4"]
		if one.payload != `{"n": 1}` || one.headers["kept"] != "yes" || one.headers["Outbox-Key"] != "k" || one.headers["Outbox-Error-Type"] != "unroutable" ||
			one.headers["Outbox-Origin-Topic"] != "lost.orders" || !strings.Contains(one.headers["Outbox-Error"], "unroutable: ") || one.headers["Outbox-Attempts"] != "2" {
			t.Errorf("the copy of an unroutable row: %+v", one)
		}
		if bad.payload != `{"n": 2}` || bad.headers["kept"] != "yes" || bad.headers["Outbox-Key"] != "" || bad.headers["Outbox-Error-Type"] != "invalid" {
			t.Errorf("the copy of an invalid row: %+v", bad)
		}
		if big.payload != "" || big.headers["Outbox-Error-Type"] != "too_large" {
			t.Errorf("the copy of a large row has %d bytes: %v", len(big.payload), big.headers)
		}
		if headers.payload != `{"n": 4}` || headers.headers["Outbox-Error-Type"] != "invalid" {
			t.Errorf("the copy of a row whose headers are no object: %+v", headers)
		}

		// The row itself is delivered under its own id, by a relay that copies too.
		relay = w.relay(append(environment, "OUTBOX_DEAD_LETTER_TOPIC", "lost.dead")...)
		w.dead("replay", "--type", "unroutable", "--yes")
		w.await("the replayed row is sent", func() bool { return w.marked() == 501 })
		relay.Terminate()
		if n := len(w.letters("lost.orders")); n != 1 {
			t.Errorf("the replayed row was stored %d times", n)
		}
	})
}

// peek looks at the queue's messages of a topic, and leaves them there.
func (w *rabbitWorld) peek(topic string, each func(amqp.Delivery)) {
	w.t.Helper()
	w.admin(func(ch *amqp.Channel) error {
		for { // unacknowledged messages go back when the channel ends
			m, more, err := ch.Get(w.queue, false)
			if err != nil || !more {
				return err
			}
			if m.RoutingKey == topic {
				each(m)
			}
		}
	})
}
