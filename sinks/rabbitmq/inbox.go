package rabbitmq

import "sync"

// inbox hands the entries of a channel from its writer to its follower.
type inbox struct {
	fresh chan struct{} // holds one: the inbox is no longer empty

	mu      sync.Mutex
	entries []entry
}

// put hands an entry to the follower.
func (b *inbox) put(e entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.entries = append(b.entries, e)
	if len(b.entries) == 1 {
		select {
		case b.fresh <- struct{}{}:
		default:
		}
	}
}

// collect moves the entries to the end of open.
func (b *inbox) collect(open []entry) []entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	open = append(open, b.entries...)
	clear(b.entries)
	b.entries = b.entries[:0]
	return open
}
