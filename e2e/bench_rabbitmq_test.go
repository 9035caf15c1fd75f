package e2e_test

import (
	"slices"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
)

// BenchmarkRabbitMQ is BenchmarkRelay with one quorum queue of RabbitMQ: what a
// plain publisher of the client library reaches alone (one channel, deferred
// confirms, the same window and the same bytes), how fast the relay drains a
// backlog until all of it is marked, and the ratio.
func BenchmarkRabbitMQ(b *testing.B) {
	w := newRabbitBenchWorld(b)
	for b.Loop() {
		beside := w.besideBroker(b, benchRows)
		var drained, ratios []float64
		for range ratioRounds {
			rate, ratio := beside.ratio("RabbitMQ, 1,000 keys", func() float64 {
				w.exec(`TRUNCATE {outbox}`)
				w.fill(benchRows, benchPayload)
				defer w.purgeQueue()
				return w.drainRows(benchRows)
			})
			drained, ratios = append(drained, rate), append(ratios, ratio)
		}
		figure(b, "rabbitmq_alone_msgs_per_s", median(beside.rates))
		figure(b, "rabbitmq_relay_rows_per_s", median(drained))
		figure(b, "rabbitmq_ratio", median(ratios))
		figure(b, "rabbitmq_ratio_min", slices.Min(ratios))
	}
}

// newRabbitBenchWorld has a quorum queue on a node of its own, and a database of its own.
func newRabbitBenchWorld(b *testing.B) *rabbitWorld {
	b.Helper()
	w := newRabbitWorldOn(b, ownNode(b), quorum, pgtest.Own(b, benchSettings()))
	w.asShipped()
	buildRelay(b, relaybin.Released) // before anything is measured
	return w
}

// besideBroker compares with a plain publisher of so many messages.
func (w *rabbitWorld) besideBroker(b *testing.B, rows int) *besideBroker {
	return &besideBroker{alone: func() float64 {
		defer w.purgeQueue()
		return w.publishPlainly(b, rows)
	}}
}

// publishPlainly returns messages per second.
func (w *rabbitWorld) publishPlainly(b *testing.B, rows int) float64 {
	b.Helper()
	conn, err := amqp.Dial(w.server.URL())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		b.Fatal(err)
	}
	if err := ch.Confirm(false); err != nil {
		b.Fatal(err)
	}
	pending := make(chan *amqp.DeferredConfirmation, benchWindow)
	nacks := make(chan int, 1)
	go func() {
		n := 0
		for dc := range pending {
			if !dc.Wait() {
				n++
			}
		}
		nacks <- n
	}()
	payload := make([]byte, benchPayload)
	ids, keys := numbered("00000000-0000-4000-8000-%012d", rows), numbered("bulk %d", benchKeys)
	began := time.Now()
	for n, id := range ids {
		dc, err := ch.PublishWithDeferredConfirm(w.exchange, "oracle.bulk", true, false, amqp.Publishing{
			MessageId: id, ContentType: "application/json", DeliveryMode: amqp.Persistent, Timestamp: began,
			Headers: amqp.Table{"Outbox-Key": keys[n%benchKeys]}, Body: payload,
		})
		if err != nil {
			b.Fatal(err)
		}
		pending <- dc
	}
	close(pending)
	if n := <-nacks; n > 0 {
		b.Fatalf("%d of the plain publisher's messages were not acknowledged", n)
	}
	return float64(rows) / time.Since(began).Seconds()
}

func (w *rabbitWorld) purgeQueue() {
	w.t.Helper()
	w.admin(func(ch *amqp.Channel) error {
		_, err := ch.QueuePurge(w.queue, false)
		return err
	})
}

// drainRows returns rows per second, from the relay's start until the last of a backlog
// of so many rows is marked.
func (w *rabbitWorld) drainRows(rows int) float64 {
	w.t.Helper()
	began := time.Now()
	relay := w.relayOf(relaybin.Released)
	w.awaitFor(10*time.Minute, "the backlog is published", func() bool { return w.messages() >= rows })
	w.awaitDrained()
	took := time.Since(began)
	relay.Terminate()
	if marked := w.marked(); marked < rows {
		w.t.Fatalf("%d rows are marked, want %d", marked, rows)
	}
	return float64(rows) / took.Seconds()
}
