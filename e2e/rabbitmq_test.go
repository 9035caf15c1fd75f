package e2e_test

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
	"github.com/outbox-relay/outbox-relay/relay/admin"
)

var quorum = amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum}

// killNodeUnderLoad kills the node again and again.
func killNodeUnderLoad(t *testing.T, args amqp.Table, kills int, seed uint64) {
	t.Helper()
	w := newRabbitWorld(t, ownNode(t), args)
	load := w.load(oracle.Load{Rate: 400, Seed: seed})
	relay := w.relay()
	w.saveDeclarations()
	for range kills {
		w.awaitMarked(w.marked() + 200)
		w.killAndRestart()
	}
	w.awaitMarked(w.marked() + 200)
	w.stop(load, 400)
	w.awaitDrained()
	relay.Terminate()
	w.verdict(oracle.Limits{Redeliveries: kills * window})
}

func TestRabbitMQKilledLosesNothingOnAClassicQueue(t *testing.T) {
	t.Parallel()
	killNodeUnderLoad(t, nil, 2, 60)
}

func TestRabbitMQKilledLosesNothingOnAQuorumQueue(t *testing.T) {
	t.Parallel()
	killNodeUnderLoad(t, quorum, 2, 61)
}

func TestRabbitMQConnectionsClosedAndMemoryAlarm(t *testing.T) {
	t.Parallel()
	w := newRabbitWorld(t, ownNode(t), quorum)
	load := w.load(oracle.Load{Rate: 400, Seed: 62})
	relay := w.relay("OUTBOX_MAX_ATTEMPTS", "1", "OUTBOX_DEAD_AFTER", "1ms")
	const closings = 2
	for range closings {
		w.awaitMarked(w.marked() + 200)
		w.ctl("close_all_connections", "maintenance")
	}
	w.awaitMarked(w.marked() + 200)

	w.ctl("set_vm_memory_high_watermark", "0.000001")
	relay.AwaitLog(`"level":"WARN"`, "blocked by the broker: low on memory")
	w.awaitTold(relay, told{
		status: func(r admin.Report) bool { return strings.Contains(r.SinkDown, "low on memory") },
		above:  []string{"outbox_breaker_open"},
		log:    []string{`"level":"WARN"`, "RabbitMQ has blocked publishing", "low on memory"},
	})
	before := w.marked()
	w.letPass(10 * time.Second)
	// What was confirmed when the alarm came may still have been on its way.
	if more := w.marked() - before; more > window {
		t.Errorf("%d rows were sent during the alarm", more)
	}
	w.ctl("set_vm_memory_high_watermark", "0.8")
	w.awaitMarked(w.marked() + 200)
	w.stop(load, 600)
	w.awaitDrained()
	w.untouched()

	// And the end of a relay is not held up by an alarm.
	w.ctl("set_vm_memory_high_watermark", "0.000001")
	w.insert(plain(1))
	w.await("the status tells why it stays, though nothing is reported of it", func() bool {
		return w.pending() == 1 && strings.Contains(w.status(relay).SinkDown, "blocked by the broker: low on memory")
	})
	relay.Signal(syscall.SIGTERM)
	// The row may have been written a moment before the alarm was told: then it is
	// awaited for the grace, and the relay says that it will come again.
	if code := relay.Wait(patience); code != 0 && relay.CountLog("1 rows without an acknowledgement or a mark will be sent again") != 1 {
		t.Errorf("the relay ended with exit status %d during the alarm", code)
	}
	w.ctl("set_vm_memory_high_watermark", "0.8")
	next := w.relay()
	w.awaitDrained()
	next.Terminate()
	w.verdict(oracle.Limits{Redeliveries: (closings + 2) * window})
}

func TestRabbitMQQueueDeletedAndMadeAgain(t *testing.T) {
	t.Parallel()
	w := newRabbitWorld(t, sharedNode(t), nil)
	load := w.load(oracle.Load{Rate: 400, Seed: 63})
	relay := w.relay()
	for range 3 {
		w.awaitMarked(w.marked() + 200)
		// Unbound first: what a queue has when it is deleted is lost by its owner's
		// will, and the broker confirms what it was just being sent.
		w.admin(func(ch *amqp.Channel) error { return ch.QueueUnbind(w.queue, "oracle.#", w.exchange, nil) })
		// What was routed before that may come later than the answer.
		w.await("the queue is empty, and deleted", func() (gone bool) {
			w.drain()
			w.admin(func(ch *amqp.Channel) error {
				_, err := ch.QueueDelete(w.queue, false, true, false)
				gone = err == nil
				if refused, ok := errors.AsType[*amqp.Error](err); ok && refused.Code == amqp.PreconditionFailed {
					return nil // it is not empty
				}
				return err
			})
			return gone
		})
		relay.AwaitLog("unroutable")
		w.declareQueue()
	}
	w.awaitMarked(w.marked() + 200)
	w.stop(load, 600)
	w.awaitDrained()
	relay.Terminate()
	w.verdict(oracle.Limits{})
}

func TestRabbitMQExchangeDeletedUnderLoad(t *testing.T) {
	t.Parallel()
	w := newRabbitWorld(t, sharedNode(t), quorum)
	load := w.load(oracle.Load{Rate: 400, Seed: 64})
	relay := w.relay()
	const times = 3
	for range times {
		w.awaitMarked(w.marked() + 200)
		w.admin(func(ch *amqp.Channel) error { return ch.ExchangeDelete(w.exchange, false, false) })
		relay.AwaitLog(`"level":"WARN"`, "does not exist")
		w.declareExchange()
		w.declareQueue()
	}
	w.awaitMarked(w.marked() + 200)
	w.stop(load, 600)
	w.awaitDrained()
	relay.Terminate()
	w.verdict(oracle.Limits{Redeliveries: times * window})
}

func TestRabbitMQFullQueueKeepsRowsUntilThereIsRoom(t *testing.T) {
	t.Parallel()
	const room = 200
	w := newRabbitWorld(t, sharedNode(t), amqp.Table{"x-max-length": room, "x-overflow": "reject-publish"})
	relay := w.relay("OUTBOX_MAX_ATTEMPTS", "1")
	w.finish(w.load(oracle.Load{Rows: 1000, Keys: 20, Seed: 65}))
	w.await("rows are refused", func() bool {
		return w.count(`SELECT count(*) FROM {outbox} WHERE attempts > 1 AND last_error LIKE '%reject-publish%'`) > 0
	})
	if stored := w.stored(); stored < room || stored > 2*room {
		t.Errorf("the full queue has %d messages, want about %d", stored, room)
	}
	if dead := w.count(`SELECT count(*) FROM {outbox} WHERE dead_at IS NOT NULL`); dead > 0 {
		t.Errorf("%d rows are dead: their attempts are used up, but OUTBOX_DEAD_AFTER is not over", dead)
	}
	w.await("all rows are settled while the queue is consumed", func() bool {
		w.drain()
		return w.pending() == 0
	})
	relay.Terminate()
	w.verdict(oracle.Limits{})
}

func TestRabbitMQBadRowsDieAlone(t *testing.T) {
	t.Parallel()
	w := newRabbitWorld(t, sharedNode(t), quorum)
	load := w.load(oracle.Load{Rows: 600, Seed: 66})
	bad := func(change func(*oracle.Content)) oracle.Content {
		c := plain(0)
		change(&c)
		return c
	}
	contents := []oracle.Content{
		bad(func(c *oracle.Content) { c.Topic = strings.Repeat("t", 256) }),
		bad(func(c *oracle.Content) { c.Headers = largeHeaders(200_000) }),
		bad(func(c *oracle.Content) { c.Headers = map[string]string{"CC": "elsewhere"} }),
		bad(func(c *oracle.Content) { c.Headers = map[string]string{"BCC": "elsewhere"} }),
		bad(func(c *oracle.Content) { c.Payload = []byte(`"` + strings.Repeat("x", 1_100_000) + `"`) }),
	}
	w.insertAs(oracle.Buried, contents...)
	relay := w.relay("OUTBOX_MAX_MESSAGE_BYTES", "1MiB")
	w.finish(load)
	w.awaitDrained()
	relay.Terminate()
	for _, part := range []string{"routing key", "frame_max", "CC", "BCC", "too large"} {
		if w.count(`SELECT count(*) FROM {outbox} WHERE dead_at IS NOT NULL AND last_error LIKE '%' || $1 || '%'`, part) == 0 {
			t.Errorf("no dead row says %q in last_error", part)
		}
	}
	if n := relay.CountLog("connection to RabbitMQ lost"); n > 0 {
		t.Errorf("the connection was lost %d times", n)
	}
	w.verdict(oracle.Limits{})
}

// Without a limit of its own RabbitMQ is sent 16 MiB, and not a byte more: read from the table
// and, while tailing, from the log.
func TestRabbitMQRowOverTheDefaultLimitDiesAlone(t *testing.T) {
	t.Parallel()
	w := newRabbitWorld(t, sharedNode(t), quorum)
	load := w.load(oracle.Load{Rate: 200, Seed: 70})
	const limit = 16_777_216
	sized := func(bytes int) oracle.Content {
		c := plain(0)
		c.Payload = []byte(`"` + strings.Repeat("x", bytes-2) + `"`)
		return c
	}
	w.insertAs(oracle.Buried, sized(limit+1))
	w.insertAs(oracle.Delivered, sized(limit))
	relay := w.relay()
	w.awaitMarked(200)
	over := w.insertAs(oracle.Buried, sized(limit+1))[0]
	under := w.insertAs(oracle.Delivered, sized(limit))[0]
	w.await("the larger one is dead, the smaller one is sent", func() bool {
		return w.sent(under) && w.count(`SELECT count(*) FROM {outbox} WHERE id = $1 AND dead_at IS NOT NULL`, over.ID) == 1
	})
	w.awaitMarked(w.marked() + 200)
	w.stop(load, 400)
	w.awaitDrained()
	relay.Terminate()
	if n := w.count(`SELECT count(*) FROM {outbox} WHERE dead_at IS NOT NULL AND attempts = 1 AND last_error LIKE '%16777217 bytes%limit is 16777216%too large%'`); n != 2 {
		var lastError string
		w.row(`SELECT coalesce(max(last_error), '') FROM {outbox} WHERE dead_at IS NOT NULL`, nil, &lastError)
		t.Errorf("%d rows died at their first attempt and name the limit, want 2: %s; %s", n, lastError, w.state())
	}
	if n := relay.CountLog("connection to RabbitMQ lost"); n > 0 {
		t.Errorf("the connection was lost %d times", n)
	}
	w.verdict(oracle.Limits{})
}

func largeHeaders(size int) map[string]string {
	headers := make(map[string]string)
	for i := 0; size > 0; i++ {
		headers[fmt.Sprintf("header-%04d", i)] = strings.Repeat("v", 1000)
		size -= 1000
	}
	return headers
}

func TestRabbitMQForbiddenTopicIsRefusedAndTheOthersFlow(t *testing.T) {
	t.Parallel()
	w := newRabbitWorld(t, sharedNode(t), nil)
	user := w.role
	w.ctl("add_user", user, "broker-secret")
	w.ctl("set_permissions", "-p", "/", user, "", ".*", "")
	w.ctl("set_topic_permissions", "-p", "/", user, w.exchange, `^oracle\.(a|b)$`, "")
	w.env["OUTBOX_SINK_URL"] = w.server.URLAs(user, "broker-secret")
	forbidden := plain(1)
	forbidden.Topic = "oracle.secret"
	w.insert(forbidden)
	relay := w.relay()
	const rows = 1000
	w.finish(w.load(oracle.Load{Rows: rows, Seed: 67}))
	w.await("all others are sent", func() bool { return w.pending() == 1 })
	var lastError string
	w.row(`SELECT last_error FROM {outbox} WHERE topic = 'oracle.secret'`, nil, &lastError)
	if !strings.Contains(lastError, "forbidden") || !strings.Contains(lastError, "set_topic_permissions") {
		t.Errorf("last_error is %q", lastError)
	}
	w.ctl("set_topic_permissions", "-p", "/", user, w.exchange, ".*", "")
	w.awaitDrained()
	relay.Terminate()
	if touched := w.count(`SELECT count(*) FROM {outbox} WHERE attempts > 0`); touched != 1 {
		t.Errorf("%d rows have attempts, want the forbidden one alone", touched)
	}
	w.verdict(oracle.Limits{Redeliveries: window})
}

// awaitMarked waits until so many rows are marked: unlike the queue's count it
// can be read while the broker is down.
func (w *world) awaitMarked(n int) {
	w.t.Helper()
	w.await(fmt.Sprintf("%d rows are marked", n), func() bool { return w.marked() >= n })
}
