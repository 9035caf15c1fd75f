package relaybin

import (
	"bytes"
	"slices"
	"strings"
	"sync"
)

// output keeps what the relay writes, line by line. Safe for concurrent use.
type output struct {
	mu    sync.Mutex
	lines []string
	rest  []byte        // a line without its end
	news  chan struct{} // closed and replaced when there are new lines
}

// Write implements [io.Writer].
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.rest = append(o.rest, p...)
	before := len(o.lines)
	for {
		line, rest, whole := bytes.Cut(o.rest, []byte("\n"))
		if !whole {
			break
		}
		o.lines, o.rest = append(o.lines, string(line)), rest
	}
	if len(o.lines) > before {
		close(o.news)
		o.news = make(chan struct{})
	}
	return len(p), nil
}

// since are the lines from a number on, and what is closed when there are more.
func (o *output) since(from int) ([]string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.lines[from:], o.news
}

// tail is the end of it, for a failed test.
func (o *output) tail() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	lines := o.lines
	if len(o.rest) > 0 {
		lines = append(slices.Clip(lines), string(o.rest))
	}
	return strings.Join(lines[max(0, len(lines)-40):], "\n")
}

func containsAll(line string, texts []string) bool {
	for _, text := range texts {
		if !strings.Contains(line, text) {
			return false
		}
	}
	return true
}
