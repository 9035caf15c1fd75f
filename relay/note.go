package relay

import "fmt"

// ErrForeign is an [ErrSetup]: the table belongs to another environment than the relay, as
// in a copy of a database. The relay publishes nothing of it.
var ErrForeign = fmt.Errorf("%w: of another environment", ErrSetup)

// Note is what is noted beside the table, as far as the relay acts on it.
type Note struct {
	Place
	// Doubt says that the table may be a copy, or that nothing tells whether it is one, and
	// what to do; empty if all is well. The relay publishes nevertheless.
	Doubt string
}

// Place is where the table is.
type Place struct {
	System   string // the server's system identifier; empty where it does not tell
	Database string
}
