package relay

import (
	"fmt"
	"strings"
	"time"
)

// LockHolder is who holds the leadership lock. The zero value is nobody.
type LockHolder struct {
	PID         int64  // of the server's process; 0 for nobody, or a prepared transaction
	Prepared    string // the name of the prepared transaction
	Role        string
	Application string        // its application_name: whatever that session says
	State       string        // as in pg_stat_activity; empty where the relay's role may not see it
	Wait        string        // what it waits for: type and event
	Quiet       time.Duration // how long it has been in that state
	// Relay says that the session looks like that of a working relay. One that has
	// been silent for longer than a working relay ever is does not: its relay was
	// killed or is frozen.
	Relay bool
	// Release is the statement that frees the lock; empty for nobody.
	Release string
}

// Nobody returns whether the lock is free.
func (h LockHolder) Nobody() bool { return h.PID == 0 && h.Prepared == "" }

// String is all that is known, for people. Some of it was chosen by that session:
// print it as untrusted text.
func (h LockHolder) String() string {
	switch {
	case h.Nobody():
		return "nobody"
	case h.PID == 0:
		return fmt.Sprintf("prepared transaction %q", h.Prepared)
	}
	parts := []string{fmt.Sprintf("pid %d (application %q, role %q)", h.PID, h.Application, h.Role)}
	if h.State != "" {
		parts = append(parts, fmt.Sprintf("%s for %s", h.State, h.Quiet.Round(time.Second)))
	}
	if h.Wait != "" {
		parts = append(parts, "waiting for "+h.Wait)
	}
	return strings.Join(parts, ", ")
}
