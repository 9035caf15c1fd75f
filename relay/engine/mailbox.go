package engine

import "sync"

// mailbox carries items from any goroutine to the one that owns it, in batches. It
// never blocks the sender: a sink reports while its client library holds a lock. The
// window bounds it, because each message in flight has one report and one settlement
// to come.
type mailbox[T any] struct {
	// ready has an element while there is something to take.
	ready chan struct{}

	mu    sync.Mutex
	items []T
	spare []T
}

func newMailbox[T any]() *mailbox[T] {
	return &mailbox[T]{ready: make(chan struct{}, 1)}
}

func (b *mailbox[T]) put(items ...T) {
	b.mu.Lock()
	b.items = append(b.items, items...)
	b.mu.Unlock()
	select {
	case b.ready <- struct{}{}:
	default:
	}
}

// take returns what has come in since the last call. The slice is valid until
// the next take.
func (b *mailbox[T]) take() []T {
	b.mu.Lock()
	defer b.mu.Unlock()
	items := b.items
	clear(b.spare)
	b.items, b.spare = b.spare[:0], items
	return items
}
