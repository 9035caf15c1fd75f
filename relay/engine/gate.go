package engine

import (
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/wal"
)

// VisibilityGate says whether rows of the tail wait until their transaction is
// visible to others.
type VisibilityGate uint8

// The settings of the gate.
const (
	GateAuto VisibilityGate = iota // while synchronous_standby_names is set
	GateOn
	GateOff
)

var gateNames = [...]string{"auto", "on", "off"}

// String returns the value of OUTBOX_VISIBILITY_GATE.
func (g VisibilityGate) String() string { return gateNames[g] }

// gate keeps back rows of the log that others cannot see yet.
//
// Schedule that invents a message: X commits and waits for the synchronous standby. The
// log has X already, and the tail publishes its row. The primary is lost before the
// standby has X, and the standby becomes the primary: X never happened. So a row passes
// the gate only once a statement sees its transaction. PostgreSQL shows a transaction
// after the standby has confirmed it.
//
// The gate keeps back one event. The events after it wait in the stream.
type gate struct {
	setting     VisibilityGate
	synchronous bool         // the last survey found a synchronous standby configured
	visible     wal.Snapshot // the newest snapshot that is known; the zero value sees nothing
	waiting     *relay.TailEvent
	next        time.Time // when to look next at what is visible
	pause       time.Duration
	tried       wal.XID // the transaction for which the pause has grown
}

// The pauses between two looks at a transaction that is not visible.
const (
	gatePauseMin = time.Millisecond
	gatePauseMax = 50 * time.Millisecond
)

// passes says whether rows of the transaction may go.
func (g *gate) passes(x wal.XID) bool {
	return g.setting == GateOff || g.setting == GateAuto && !g.synchronous || g.visible.Sees(x)
}

// keep keeps the event back until a later look. The first look comes at once.
func (g *gate) keep(ev relay.TailEvent, now time.Time) {
	if g.tried != ev.XID {
		g.tried, g.pause = ev.XID, 0
	}
	g.waiting = &ev
	g.next = now.Add(g.pause)
	g.pause = min(max(gatePauseMin, 2*g.pause), gatePauseMax)
}

// holdsBack says whether an event is kept back.
func (g *gate) holdsBack() bool { return g.waiting != nil }

// giveOut returns the event that was kept back, if there is one, to be judged again.
func (g *gate) giveOut() (relay.TailEvent, bool) {
	if g.waiting == nil {
		return relay.TailEvent{}, false
	}
	ev := *g.waiting
	g.waiting = nil
	return ev, true
}
