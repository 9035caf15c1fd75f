package relay

import (
	"fmt"
	"time"
)

// ErrForeign is an [ErrSetup]: the table belongs to another environment than the relay, as
// in a copy of a database. The relay publishes nothing of it.
var ErrForeign = fmt.Errorf("%w: of another environment", ErrSetup)

// Note is what is noted beside the table, as far as the relay acts on it.
type Note struct {
	Place
	// Doubt says that the table may be a copy, or that nothing tells whether it is one, and
	// what to do; empty if all is well. The relay publishes nevertheless.
	Doubt string
	Pause Pause
}

// Pause says that nothing new is to be published. What is on its way is awaited and marked.
type Pause struct {
	Since  time.Time // zero: it is not paused
	By     string
	Reason string // of the person who paused it; may be empty
}

// On says whether the table is paused.
func (p Pause) On() bool { return !p.Since.IsZero() }

// String says it in words; empty while the table is not paused.
func (p Pause) String() string {
	if !p.On() {
		return ""
	}
	text := fmt.Sprintf("paused by %s at %s", p.By, p.Since.UTC().Format(time.RFC3339))
	if p.Reason != "" {
		text += ": " + p.Reason
	}
	return text
}

// Place is where the table is.
type Place struct {
	System   string // the server's system identifier; empty where it does not tell
	Database string
}
