package engine

import "sync"

// mailbox carries items from any goroutine to the one that owns it, in batches. It
// never blocks the sender: a sink reports while its client library holds a lock. The
// window bounds it, because each message in flight has one report and one settlement
// to come.
type mailbox[T any] struct {
	// ready has an element while there is something to take, and full while there are enough
	// items for somebody who waits for so many.
	ready, full chan struct{}
	enough      int // 0: nobody does

	mu    sync.Mutex
	items []T
	spare []T
}

func newMailbox[T any]() *mailbox[T] {
	return &mailbox[T]{ready: make(chan struct{}, 1), full: make(chan struct{}, 1)}
}

// newBatchMailbox makes a mailbox that is full with so many items.
func newBatchMailbox[T any](enough int) *mailbox[T] {
	b := newMailbox[T]()
	b.enough = enough
	return b
}

func (b *mailbox[T]) put(items ...T) {
	b.mu.Lock()
	b.items = append(b.items, items...)
	full := b.enough > 0 && len(b.items) >= b.enough
	b.mu.Unlock()
	signal(b.ready)
	if full {
		signal(b.full)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// take returns what has come in since the last call. The slice is valid until the next
// take. A put at the same moment may leave ready or full set, with nothing to take.
func (b *mailbox[T]) take() []T {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range []chan struct{}{b.ready, b.full} {
		select {
		case <-c:
		default:
		}
	}
	items := b.items
	clear(b.spare)
	b.items, b.spare = b.spare[:0], items
	return items
}
