package main

import (
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
)

func TestAckTimeoutReachesBothSinks(t *testing.T) {
	for text, want := range map[string]time.Duration{"": 0, "7s": 7 * time.Second} { // 0 is the sink's own
		c, err := config.LoadNames([]string{"OUTBOX_ACK_TIMEOUT=" + text})
		if err != nil {
			t.Fatal(err)
		}
		o, err := sinkOptions(c, "host", nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := natsOptions(c, o, nil).AckTimeout; got != want {
			t.Errorf("%q: NATS waits %s, want %s", text, got, want)
		}
		if got := rabbitMQOptions(c, o, nil).AckTimeout; got != want {
			t.Errorf("%q: RabbitMQ waits %s, want %s", text, got, want)
		}
	}
}

func TestEachSchemeHasItsSink(t *testing.T) {
	for _, s := range config.SinkSchemes() {
		if int(s.Broker) >= len(brokers) || brokers[s.Broker].open == nil || brokers[s.Broker].examine == nil {
			t.Errorf("%s:// is %s, which has no sink", s.Name, s.Broker)
		}
	}
}
