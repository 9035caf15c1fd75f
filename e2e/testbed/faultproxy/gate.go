package faultproxy

import "sync"

// gate is open or shut. The zero value is open.
type gate struct {
	mu     sync.Mutex
	opened chan struct{} // nil while open, else closed when it opens
}

func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case shut && g.opened == nil:
		g.opened = make(chan struct{})
	case !shut && g.opened != nil:
		close(g.opened)
		g.opened = nil
	}
}

// shut is nil while the gate is open, else a channel that is closed when it
// opens.
func (g *gate) shut() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.opened
}

// pass waits until the gate is open. It returns false when done was closed
// before.
func (g *gate) pass(done <-chan struct{}) bool {
	for opened := g.shut(); opened != nil; opened = g.shut() {
		select {
		case <-opened:
		case <-done:
			return false
		}
	}
	return true
}
