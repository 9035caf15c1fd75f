package rabbitmq_test

import (
	"context"
	"fmt"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/rabbitmq"
	"github.com/outbox-relay/outbox-relay/sinks/sinktest"
)

const benchWindow = 4096

// BenchmarkPublish measures one quorum queue behind a topic exchange, a window of
// 4096 messages of 300 bytes with a key, by number of channels, and beside it the
// client library alone with one channel and deferred confirms.
func BenchmarkPublish(b *testing.B) {
	b.Run("publisher=library", func(b *testing.B) { benchmark(b, benchLibrary) })
	for _, channels := range []int{1, 2, 4, 8} {
		b.Run(fmt.Sprintf("publisher=sink/channels=%d", channels), func(b *testing.B) {
			benchmark(b, func(b *testing.B, p *place) { benchSink(b, p, channels) })
		})
	}
}

func benchmark(b *testing.B, run func(*testing.B, *place)) {
	p := newPlace(b, amqp.QueueTypeQuorum)
	p.queue("bench", "#", nil)
	run(b, p)
}

func benchMessage(i int) *relay.Message {
	m := messageTo("bench", i)
	m.Payload = make([]byte, 300)
	m.Key, m.Keyed = fmt.Sprint("key-", i%1000), true
	return m
}

func benchSink(b *testing.B, p *place, channels int) {
	o := p.options()
	o.Window, o.Channels = benchWindow, channels
	s, err := rabbitmq.Open(o)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close(context.Background())
	reach(b, s)
	sinktest.Measure(b, func() { sinktest.PublishAll(b, s, benchWindow, benchMessage) })
}

func benchLibrary(b *testing.B, p *place) {
	_, ch := connect(b)
	if err := ch.Confirm(false); err != nil {
		b.Fatal(err)
	}
	pending := make(chan *amqp.DeferredConfirmation, benchWindow)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for dc := range pending {
			if !dc.Wait() {
				b.Error("nack")
			}
		}
	}()
	sinktest.Measure(b, func() {
		for i := range b.N {
			m := benchMessage(i)
			dc, err := ch.PublishWithDeferredConfirm(p.exchange, m.Topic, true, false, amqp.Publishing{
				MessageId: m.MessageID.String(), ContentType: m.ContentType, DeliveryMode: amqp.Persistent,
				Timestamp: m.CreatedAt, Headers: amqp.Table{"Outbox-Key": m.Key}, Body: m.Payload,
			})
			if err != nil {
				b.Fatal(err)
			}
			pending <- dc
		}
		close(pending)
		<-done
	})
}
