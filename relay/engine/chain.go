package engine

import (
	"cmp"
	"slices"

	"github.com/outbox-relay/outbox-relay/relay"
)

// chain is the messages of one key in memory.
//
// Those with the sink are all in one lane, so the broker stores them in the order in
// which they were published. Messages that the sink gives back wait until the sink has
// no message of the key. Then they are published again, in order, and before anything
// new.
//
// Schedule that reorders: rows 1 to 3 of a key are with the sink. It gives 1 back. If
// 1 were published again at once, with 4 behind it in the new lane, and 2 and 3 came
// back only then, the key would be delivered as 1, 4, 2, 3.
type chain struct {
	name      string
	lane      relay.Lane  // the lane of the messages with the sink
	with      int         // how many messages the sink has not reported
	span      fifo[*item] // published messages, from the oldest one that is with the sink
	withdrawn []*item     // given back, in any order, while others are with the sink
	waiting   fifo[*item] // not published
	hasTurn   bool        // it stands in the dispatcher's queue
	otherLane bool        // the first message that waits needs another lane than those with the sink
	failed    bool        // a message has failed: nothing more of the chain is published
}

// size is how many messages are in memory and neither acknowledged nor refused.
func (c *chain) size() int { return c.with + len(c.withdrawn) + c.waiting.len }

// mayGoOn says whether the first message that waits may be published. It does not know
// the message's lane yet.
func (c *chain) mayGoOn(window int) bool {
	switch {
	case c.waiting.len == 0, c.failed, len(c.withdrawn) > 0:
		return false
	case c.with == 0:
		return true
	case c.otherLane:
		return false
	case c.lane.Strict:
		return true
	}
	// The window counts from the oldest message on. That one may be refused after a
	// long time, and then the broker must not have stored more than a window of later
	// ones.
	return c.lane.Number != 0 && c.span.len < window
}

// joins says whether the next message may go in that lane now: the sink has no message
// of the chain, or all that it has are in that lane.
func (c *chain) joins(l relay.Lane) bool {
	if c.with > 0 && (l != c.lane || l.Number == 0) {
		c.otherLane = true
		return false
	}
	c.lane = l
	return true
}

// publish notes that the first message that waits is with the sink.
func (c *chain) publish() {
	m := c.waiting.pop()
	m.isWithSink = true
	c.with++
	c.span.push(m)
}

// left notes that a message is no longer with the sink. After the last one, the
// messages that were given back wait in front again.
func (c *chain) left(m *item) {
	m.isWithSink = false
	c.with--
	for c.span.len > 0 && !c.span.peek().isWithSink {
		c.span.pop()
	}
	if c.with > 0 {
		return
	}
	c.otherLane = false
	if len(c.withdrawn) == 0 {
		return
	}
	slices.SortFunc(c.withdrawn, func(a, b *item) int { return cmp.Compare(a.number, b.number) })
	for _, m := range slices.Backward(c.withdrawn) {
		c.waiting.pushFront(m)
	}
	c.withdrawn = nil
}
