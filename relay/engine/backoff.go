package engine

import (
	"math/rand/v2"
	"time"
)

// Backoff grows delays from Min to Max by doubling.
type Backoff struct{ Min, Max time.Duration }

// ceiling is the delay after n failures (n from 1), without jitter.
func (b Backoff) ceiling(n int) time.Duration {
	d := b.Min
	for range n - 1 {
		if d >= b.Max/2 {
			return b.Max
		}
		d *= 2
	}
	return min(d, b.Max)
}

// full is the delay with full jitter, anywhere between zero and the ceiling, so that
// refused messages do not all come back at the same moment.
func (b Backoff) full(n int) time.Duration {
	return rand.N(b.ceiling(n) + 1)
}

// equal is the delay with equal jitter, between half of the ceiling and the ceiling, so
// that a reconnect never comes at once.
func (b Backoff) equal(n int) time.Duration {
	c := b.ceiling(n)
	return c/2 + rand.N(c/2+1)
}
