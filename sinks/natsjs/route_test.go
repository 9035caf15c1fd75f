package natsjs

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// With OUTBOX_TOPOLOGY=create the sink makes a stream itself. Without this a hot key would
// go one row at a time until the answer that there is no stream is old.
func TestTopicThatGotAStreamIsLookedUpAtOnce(t *testing.T) {
	ls := newLanes(new(atomic.Uint64), nil)
	ls.of("orders")
	ls.answer(<-ls.ask, jetstream.StreamConfig{}, jetstream.ErrStreamNotFound, time.Now())
	if ls.of("orders"); len(ls.ask) != 0 {
		t.Fatal("a topic that has no stream is looked up again at once")
	}
	ls.appeared("orders")
	if ls.of("orders"); len(ls.ask) != 1 {
		t.Error("a topic that has got a stream is not looked up")
	}
}
