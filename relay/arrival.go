package relay

import "time"

// Watch is what a person wants to see of the messages that arrive at a broker. Both
// functions are called by one goroutine at a time.
type Watch struct {
	// Pattern of topics in the broker's own syntax; empty: all of them.
	Pattern string
	// All: also what the broker has stored before, where it keeps messages.
	All bool
	// Take gets each message, and says whether more are wanted.
	Take func(*Arrival) (more bool)
	// Say is told what the watch does and waits for.
	Say func(what string)
}

// Arrival is a message as a consumer gets it.
type Arrival struct {
	Topic       string
	MessageID   string // as the broker has it; empty where it has none
	Key         *string
	ContentType string
	Headers     []Header // without those above; sorted by name
	Payload     []byte
	// At is when the broker got it, where it says that.
	At time.Time
}
