package natsserver

import (
	"fmt"
	"strings"
	"sync"
)

// lastWords keeps what an embedded server complains of, for the error of a start
// that fails: the server itself reports a port in use to its log alone.
type lastWords struct {
	mu    sync.Mutex
	lines []string
	fatal bool
}

// most lines kept; the first ones tell the cause.
const mostLines = 10

func (l *lastWords) add(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) < mostLines {
		l.lines = append(l.lines, fmt.Sprintf(format, args...))
	}
}

// Fatalf keeps a line and notes that the server will never work: an embedded
// one does not end by itself.
func (l *lastWords) Fatalf(format string, args ...any) {
	l.add(format, args...)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fatal = true
}

func (l *lastWords) isFatal() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fatal
}

// Errorf and Warnf keep a line.

func (l *lastWords) Errorf(format string, args ...any) { l.add(format, args...) }
func (l *lastWords) Warnf(format string, args ...any)  { l.add(format, args...) }

// The rest is dropped.

func (l *lastWords) Noticef(string, ...any) {}
func (l *lastWords) Debugf(string, ...any)  {}
func (l *lastWords) Tracef(string, ...any)  {}

// String is empty or starts with a separator.
func (l *lastWords) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) == 0 {
		return ""
	}
	return "; it said:\n" + strings.Join(l.lines, "\n")
}
