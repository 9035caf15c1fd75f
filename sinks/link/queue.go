package link

import "sync"

// Queue hands items to one goroutine, in the order in which they were put in. Putting
// an item in never blocks, so the callers bound the number of items. A queue is quicker
// than a channel, because one wake-up serves all items that came meanwhile.
//
// Put and Close are safe for concurrent use. Run is called once.
type Queue[T any] struct {
	ready chan struct{} // holds one: there are items, or the queue was closed

	mu     sync.Mutex
	items  []T
	closed bool
}

// NewQueue returns an empty queue.
func NewQueue[T any]() *Queue[T] { return &Queue[T]{ready: make(chan struct{}, 1)} }

// Put appends an item. It returns false once the queue is closed: then the item
// is still the caller's.
func (q *Queue[T]) Put(item T) bool {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return false
	}
	q.items = append(q.items, item)
	first := len(q.items) == 1
	q.mu.Unlock()
	if first {
		q.wake()
	}
	return true
}

// Run calls take again and again, with all items that have come, and returns after the
// call with closed set. The slice belongs to the queue again when take returns. The
// queue clears it, so that it keeps no item alive.
func (q *Queue[T]) Run(take func(items []T, closed bool)) {
	var items []T
	for range q.ready {
		var closed bool
		items, closed = q.swap(items)
		take(items, closed)
		clear(items)
		if closed {
			return
		}
	}
}

// swap returns all items. New items go into the emptied slice of the previous call.
func (q *Queue[T]) swap(empty []T) (items []T, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	items, q.items = q.items, empty[:0]
	return items, q.closed
}

// Close refuses further items. Run still takes those that are there. Close may be
// called twice.
func (q *Queue[T]) Close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.wake()
}

func (q *Queue[T]) wake() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}
