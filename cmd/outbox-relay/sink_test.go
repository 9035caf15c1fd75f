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
		onNATS, err := jetStreamOptions(c, "", nil)
		if err != nil || onNATS.AckTimeout != want {
			t.Errorf("%q: NATS waits %s (%v), want %s", text, onNATS.AckTimeout, err, want)
		}
		onRabbitMQ, err := rabbitMQOptions(c, "", nil)
		if err != nil || onRabbitMQ.AckTimeout != want {
			t.Errorf("%q: RabbitMQ waits %s (%v), want %s", text, onRabbitMQ.AckTimeout, err, want)
		}
	}
}
