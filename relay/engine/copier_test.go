package engine

import (
	"testing"

	"github.com/outbox-relay/outbox-relay/relay"
)

// Schedule that blames the innocent: a message was in flight at two losses, and is tried
// alone. Beside it a copy of the row that does end connections is with the broker. The
// connection is lost, and the attempt is counted against the wrong one.
func TestSuspectWaitsForACopy(t *testing.T) {
	d := newDispatcher(limits{window: 4, windowBytes: 1 << 20, chain: 4}, OrderByKey)
	d.add(&item{Message: &relay.Message{Ref: relay.Ref{ID: 1}}})
	suspect := func(relay.Ref) bool { return true }
	noLane := func(*relay.Message) relay.Lane { return relay.Lane{} }
	d.beside = true
	if m := d.next(suspect, noLane); m != nil {
		t.Errorf("row %d goes beside a copy", m.ID)
	}
	d.beside = false
	if m := d.next(suspect, noLane); m == nil || !d.alone {
		t.Error("the suspect does not go alone once the copy is reported")
	}
}
