// Package transcript keeps what a program or a log writes, for a test that reads it at the
// same time.
package transcript

import (
	"bytes"
	"sync"
)

// Text is all that was written. The zero value is empty. Safe for concurrent use.
type Text struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements [io.Writer].
func (t *Text) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.Write(p)
}

// String returns what was written so far.
func (t *Text) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.String()
}
