package rabbitmq

import (
	"sync"

	"github.com/outbox-relay/outbox-relay/relay"
)

// item is a message and where its outcome goes. Whoever holds the item reports
// it, and there is one holder at any time: Publish, then a lane's queue, then
// the lane, then the follower of the channel that it was written to.
type item struct {
	message *relay.Message
	report  relay.Report
	sent    bool // it was written before, and may be stored
}

// notTaken reports that the message was not written now, and why.
func (it item) notTaken(t relay.ErrorType, err error) {
	if it.sent {
		it.done(unknown(t, err))
		return
	}
	it.done(unavailable(t, err))
}

func (it item) done(o relay.Outcome) { it.report(it.message, o) }

// queue hands messages to the goroutine of a lane. Putting one in never blocks;
// the window of the caller bounds it. It is quicker than a channel: one wake-up
// for as many messages as came meanwhile.
type queue struct {
	ready chan struct{} // has room for one: there are messages, or it was closed

	mu     sync.Mutex
	items  []item
	closed bool
}

func newQueue() *queue { return &queue{ready: make(chan struct{}, 1)} }

// put appends a message. It returns false once the queue is closed.
func (q *queue) put(it item) bool {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return false
	}
	q.items = append(q.items, it)
	first := len(q.items) == 1
	q.mu.Unlock()
	if first {
		q.wake()
	}
	return true
}

// swap takes all messages and leaves an empty slice to fill. It says whether the
// queue is closed, in which case nothing follows.
func (q *queue) swap(empty []item) (items []item, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	items, q.items = q.items, empty[:0]
	return items, q.closed
}

// close refuses further messages.
func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.wake()
}

func (q *queue) wake() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// notice tells everybody who waits that something has changed, never what.
type notice struct {
	mu sync.Mutex
	ch chan struct{}
}

func newNotice() *notice { return &notice{ch: make(chan struct{})} }

// next is closed at the next change. Take it before looking at what may change.
func (n *notice) next() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ch
}

func (n *notice) tell() {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.ch)
	n.ch = make(chan struct{})
}
