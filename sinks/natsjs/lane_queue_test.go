package natsjs

import (
	"math/rand/v2"
	"testing"
)

// The entries of a lane are a queue. It is compared with counters, and its array may not
// grow with what has gone through it.
func TestEntriesOfALaneReuseTheirArray(t *testing.T) {
	const most = 500
	l := &lane{}
	var in, out uint64
	for range 100_000 {
		switch waiting := int(in - out); {
		case waiting < most && rand.IntN(2) == 0:
			in++
			l.add(laneEntry{number: in}, false)
		case waiting > 0:
			upTo := out + 1 + uint64(rand.IntN(min(waiting, 64)))
			taken := l.acknowledge(upTo)
			for _, e := range taken {
				if out++; e.number != out {
					t.Fatalf("entry %d was taken, want %d", e.number, out)
				}
			}
			clear(taken)
			if out != upTo {
				t.Fatalf("entries up to %d were taken, want %d", out, upTo)
			}
		}
		if len(l.entries) != int(in-out) || cap(l.array) > 4*most {
			t.Fatalf("%d entries in an array of %d, want %d", len(l.entries), cap(l.array), in-out)
		}
		if len(l.entries) > 0 && (l.entries[0].number != out+1 || l.entries[len(l.entries)-1].number != in) {
			t.Fatalf("entries %d to %d, want %d to %d", l.entries[0].number, l.entries[len(l.entries)-1].number, out+1, in)
		}
	}
}
