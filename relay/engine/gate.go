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

// gate keeps back what the log tells of before others can see it.
//
// Schedule that invents a message: X commits and waits for the synchronous
// standby; the log has X already and the tail publishes its row; the primary is
// lost before the standby has got X, and is replaced by the standby: X never was.
// So a row passes only once a statement sees its transaction, which PostgreSQL
// allows after the standby has confirmed it.
//
// It keeps back one row, and what the log tells after it waits in the stream.
type gate struct {
	setting     VisibilityGate
	synchronous bool         // as the last survey found it
	visible     wal.Snapshot // the newest known; the zero value sees nothing
	waiting     *relay.TailEvent
	pause       time.Duration // before the next look
	next        time.Time
}

// The pauses between two looks at a transaction that is not visible.
const (
	gatePauseMin = time.Millisecond
	gatePauseMax = 50 * time.Millisecond
)

func (g *gate) on() bool {
	return g.setting == GateOn || g.setting == GateAuto && g.synchronous
}

// passes says whether the row may go, and keeps it back if not.
func (g *gate) passes(ev relay.TailEvent, now time.Time) bool {
	if !g.on() || g.visible.Sees(ev.XID) {
		g.pause = 0
		return true
	}
	g.waiting = &ev
	g.next = now.Add(g.pause)
	g.pause = min(max(gatePauseMin, 2*g.pause), gatePauseMax)
	return false
}

// take returns the row that was kept back, if there is one.
func (g *gate) take() (relay.TailEvent, bool) {
	if g.waiting == nil {
		return relay.TailEvent{}, false
	}
	ev := *g.waiting
	g.waiting = nil
	return ev, true
}
