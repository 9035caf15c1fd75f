package engine

import "errors"

// tailPhase is how far a tail has got. Its edges are in tailEdges.
type tailPhase uint8

const (
	tailOpening  tailPhase = iota // its slot is being created
	tailJoining                   // the slot is there; a survey comes before the log is read
	tailStarting                  // the survey was complete; the stream is being started
	tailReading                   // the log is read
	tailClosing                   // the tail was left, and its stream is ending
	tailEnded                     // the stream has ended, and the slot is gone
)

var tailPhaseNames = [...]string{"opening", "joining", "starting", "reading", "closing", "ended"}

// String returns the phase in lower case.
func (p tailPhase) String() string { return tailPhaseNames[p] }

// polls says whether passes may run beside the tail. In the other phases surveys run
// instead.
func (p tailPhase) polls() bool { return p == tailOpening || p >= tailClosing }

// tailEdge is an allowed change from one phase to another.
type tailEdge struct {
	from, to tailPhase
	when     string
}

// tailEdges are all allowed changes. The diagram in docs/architecture.md shows them.
var tailEdges = []tailEdge{
	{tailOpening, tailJoining, "the slot is there, and all that committed before it is visible"},
	{tailJoining, tailStarting, "a survey was complete"},
	{tailStarting, tailReading, "the stream has started"},
	{tailOpening, tailClosing, "left"},
	{tailJoining, tailClosing, "left"},
	{tailStarting, tailClosing, "left"},
	{tailReading, tailClosing, "left"},
	{tailClosing, tailEnded, "the stream has ended"},
}

// leadsTo says whether there is an edge from p to the other phase.
func (p tailPhase) leadsTo(to tailPhase) bool {
	for _, e := range tailEdges {
		if e.from == p && e.to == to {
			return true
		}
	}
	return false
}

// errNoEdge is a bug in this package. It ends the tail and not the process: the relay
// polls, and the log says why. The tests fail.
var errNoEdge = errors.New("this is a bug, please report it: the tail cannot change its phase")
