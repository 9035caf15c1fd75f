package jetstream

import "sync"

// queue hands messages to the goroutine that publishes. Putting one in never
// blocks; the window of the caller bounds it. It is quicker than a channel: one
// wake-up for as many messages as came meanwhile.
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
