package engine

import (
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

func TestWhatBecomesOfARow(t *testing.T) {
	t.Parallel()
	loose := &relay.Message{Ref: relay.Ref{ID: 9}}
	for name, c := range map[string]struct {
		row   relay.Row
		given func(*intake)
		want  admission
		holds bool // the key K, from then on
	}{
		"a row":                              {relay.Row{Message: rowOf(9, "K")}, nil, rowTaken, false},
		"taken before":                       {relay.Row{Message: rowOf(9, "K")}, func(in *intake) { in.taken.add(&item{Message: rowOf(9, "K")}) }, rowTakenBefore, false},
		"of a held key":                      {relay.Row{Message: rowOf(9, "K")}, func(in *intake) { in.holds.hold("K") }, rowHeld, true},
		"of a parked key":                    {relay.Row{Message: rowOf(9, "K")}, func(in *intake) { in.pass.parked.park(rowOf(8, "K")) }, rowHeld, false},
		"waiting for its retry":              {relay.Row{Message: rowOf(9, "K"), Wait: time.Second}, nil, rowWaiting, true},
		"newer":                              {relay.Row{Message: rowOf(9, "K"), Newer: true}, nil, rowNewer, true},
		"newer and waiting":                  {relay.Row{Message: rowOf(9, "K"), Newer: true, Wait: time.Second}, nil, rowNewer, true},
		"of a full chain":                    {relay.Row{Message: rowOf(9, "K")}, func(in *intake) { in.dispatcher.add(&item{Message: rowOf(8, "K")}) }, rowFull, false},
		"without a key":                      {relay.Row{Message: loose}, nil, rowTaken, false},
		"without a key, newer":               {relay.Row{Message: loose, Newer: true}, nil, rowTaken, false},
		"without a key, waiting":             {relay.Row{Message: loose, Wait: time.Second}, nil, rowWaiting, false},
		"waiting, of a key that is held":     {relay.Row{Message: rowOf(9, "K"), Wait: time.Second}, func(in *intake) { in.holds.hold("K") }, rowHeld, true},
		"taken before, of a key that is not": {relay.Row{Message: rowOf(9, "K"), Newer: true}, func(in *intake) { in.taken.add(&item{Message: rowOf(9, "K")}) }, rowTakenBefore, false},
	} {
		in := &intake{
			memory: newMemory(limits{window: 1, windowBytes: 1, chain: 1}, OrderByKey, 1), pass: newPass(),
		}
		if c.given != nil {
			c.given(in)
		}
		got := in.take(c.row)
		if got != c.want || in.holds.blocks("K") != c.holds {
			t.Errorf("%s: %s, K held %t; want %s, %t", name, got, in.holds.blocks("K"), c.want, c.holds)
		}
		if taken := in.taken.rows[c.row.Ref] != nil && got != rowTakenBefore; taken != (got == rowTaken) {
			t.Errorf("%s: %s, in flight %t", name, got, taken)
		}
	}
}
