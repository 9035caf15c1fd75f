package rabbitmq

import (
	"errors"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
)

// A retired channel may have no follower any more. Messages that were written to it
// would never be reported.
func TestRetiredChannelTakesNoMessage(t *testing.T) {
	t.Parallel()
	var c channel // and nothing to write to
	c.retire()
	if err := c.publish("", item{message: &relay.Message{}}, amqp.Publishing{}); !errors.Is(err, errRetired) {
		t.Errorf("publishing ends with %v", err)
	}
	if left := c.inbox.collect(nil); len(left) > 0 || c.used.Load() > 0 {
		t.Errorf("it has %d messages, and is owed %d confirms", len(left), c.used.Load())
	}
}

// If the channels could take the whole window, no message would be reported when the
// broker blocks.
func TestChannelsTogetherTakeLessThanTheWindow(t *testing.T) {
	t.Parallel()
	for _, channels := range []int{0, 1, 2, 4, 7} {
		for window := 8; window <= 20_000; window++ {
			o := Options{SinkOptions: link.SinkOptions{Window: window}, Channels: channels}.withDefaults()
			if n := o.perChannel() * o.Channels; n >= window || n <= 0 {
				t.Fatalf("%d channels take %d of a window of %d", o.Channels, n, window)
			}
		}
	}
}
