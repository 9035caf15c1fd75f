package rabbitmq

import "sync/atomic"

// run is a sequence of messages that a writer writes to one channel without a gap. For
// the relay it is a [relay.Lane]. The messages of a key in one run are stored in their
// order, unless the broker refuses one of them. A run ends with the channel. It also
// ends if one of its messages is not written. The messages that are queued for it are
// then withdrawn.
//
// Schedule that reorders: rows 1 to 4 of a key are in the writer's queue, and 1 and 2 are
// written. The connection is lost, and another one is there at once. If the writer wrote
// 3 and 4 to the new one, the key would be delivered as 3, 4, 1, 2.
type run struct {
	number  atomic.Uint64 // atomic, because the relay's goroutine reads it
	channel *channel      // the channel that it is written to; nil before the first message. Only the writer's goroutine uses it
}

func (r *run) begin(number uint64) {
	r.number.Store(number)
	r.channel = nil
}

func (r *run) current() uint64 { return r.number.Load() }

// goesOn says whether a message of the run with that number may be written to the channel.
func (r *run) goesOn(number uint64, ch *channel) bool {
	if r.number.Load() != number || r.channel != nil && r.channel != ch {
		return false
	}
	r.channel = ch
	return true
}
