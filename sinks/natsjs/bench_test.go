package natsjs_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/natsserver"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
	"github.com/outbox-relay/outbox-relay/sinks/natsjs"
	"github.com/outbox-relay/outbox-relay/sinks/sinktest"
)

const benchWindow = 4096

// BenchmarkPublish compares this sink with the client library's own
// asynchronous publisher, each with a window of 4096 messages of 300 bytes and
// a message id, a file stream, and the server in this process or its own.
func BenchmarkPublish(b *testing.B) {
	servers := map[string]func(context.Context, natsserver.Options) (urlCloser, error){
		"server=in process": func(ctx context.Context, o natsserver.Options) (urlCloser, error) {
			return natsserver.StartInProcess(ctx, o)
		},
		"server=process": func(ctx context.Context, o natsserver.Options) (urlCloser, error) {
			return natsserver.StartProcess(ctx, o)
		},
	}
	publishers := map[string]func(*testing.B, string){"publisher=sink": benchSink, "publisher=library": benchLibrary, "publisher=batches": benchBatches}
	for where, start := range servers {
		for who, run := range publishers {
			b.Run(where+"/"+who, func(b *testing.B) {
				s, err := start(b.Context(), natsserver.Options{})
				if err != nil {
					b.Fatal(err)
				}
				defer s.Close()
				conn, err := nats.Connect(s.URL())
				if err != nil {
					b.Fatal(err)
				}
				defer conn.Close()
				js, err := jetstream.New(conn)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := js.CreateStream(b.Context(), jetstream.StreamConfig{Name: "B", Subjects: []string{"b.>"}, AllowBatchPublish: true}); err != nil {
					b.Fatal(err)
				}
				run(b, s.URL())
			})
		}
	}
}

type urlCloser interface {
	URL() string
	Close() error
}

func benchMessage(i int) *relay.Message {
	m := &relay.Message{Topic: fmt.Sprint("b.", i%100), Key: fmt.Sprint("key-", i%1000), Keyed: true, ContentType: "application/json", Payload: make([]byte, 300)}
	m.ID = int64(i)
	m.MessageID[15], m.MessageID[14], m.MessageID[13], m.MessageID[12] = byte(i), byte(i>>8), byte(i>>16), byte(i>>24)
	return m
}

func benchSink(b *testing.B, url string) {
	benchOptions(b, natsjs.Options{SinkOptions: link.SinkOptions{URLs: url, Window: benchWindow}, FastIngest: natsjs.FastIngestOff})
}

func benchBatches(b *testing.B, url string) {
	benchOptions(b, natsjs.Options{SinkOptions: link.SinkOptions{URLs: url, Window: benchWindow}})
}

func benchOptions(b *testing.B, o natsjs.Options) {
	s, err := natsjs.Open(o)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close(context.Background())
	if err := s.Probe(b.Context()); err != nil {
		b.Fatal(err)
	}
	sinktest.Measure(b, func() { sinktest.PublishAll(b, s, benchWindow, benchMessage) })
}

func benchLibrary(b *testing.B, url string) {
	conn, err := nats.Connect(url)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	window := make(chan struct{}, benchWindow)
	var failed atomic.Int64
	js, err := jetstream.New(conn,
		jetstream.WithPublishAsyncMaxPending(2*benchWindow),
		jetstream.WithPublishAsyncTimeout(5*time.Second),
		jetstream.WithPublishAsyncAckHandler(func(jetstream.JetStream, *nats.Msg, *jetstream.PubAck) { <-window }),
		jetstream.WithPublishAsyncErrHandler(func(jetstream.JetStream, *nats.Msg, error) { failed.Add(1); <-window }))
	if err != nil {
		b.Fatal(err)
	}
	sinktest.Measure(b, func() {
		for i := range b.N {
			window <- struct{}{}
			m := benchMessage(i)
			h := nats.Header{"Content-Type": {m.ContentType}, "Outbox-Key": {m.Key}}
			msg := &nats.Msg{Subject: m.Topic, Header: h, Data: m.Payload}
			if _, err := js.PublishMsgAsync(msg, jetstream.WithMsgID(m.MessageID.String()), jetstream.WithRetryAttempts(0)); err != nil {
				b.Fatal(err)
			}
		}
		for range benchWindow {
			window <- struct{}{}
		}
	})
	if n := failed.Load(); n > 0 {
		b.Fatalf("%d messages failed", n)
	}
}
