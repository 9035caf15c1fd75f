package relay

import "fmt"

// Severity of a [Check]: the larger, the worse.
type Severity uint8

// The severities.
const (
	Fine    Severity = iota // as it should be
	Warning                 // works, but worse than it could, or a risk
	Fault                   // the relay cannot do its work
)

var severityNames = [...]string{"ok", "warning", "fault"}

// String returns the severity in lower case.
func (s Severity) String() string {
	if int(s) >= len(severityNames) {
		return fmt.Sprintf("severity(%d)", uint8(s))
	}
	return severityNames[s]
}

// Check is one thing that was examined, such as the publication or the stream of
// a topic. Adapters make them, the command doctor prints them.
type Check struct {
	// Name of what was examined, a word or two, the same whatever was found.
	Name     string
	Severity Severity
	// Found is what was found, in a sentence without the fix.
	Found string
	// Fix is what to run or to set, ready to be copied; empty where there is
	// nothing to fix.
	Fix string
}
