package wal

import (
	"math/rand/v2"
	"testing"
)

// Transactions with savepoints, which snapshots do not list, across the turn of
// the ids: whatever ended between two snapshots is found, and nothing that had
// ended before the first of those that did.
func TestWhatEndedBetweenSnapshotsIsFound(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	for _, first := range []FullXID{3, 1<<32 - 40, 5<<32 - 100, 1<<40 + 1<<31} {
		for range 200 {
			s := &server{next: first, ended: map[FullXID]bool{}}
			top := map[FullXID]FullXID{} // of each id, the transaction that it belongs to
			run := func(n int) {
				var open []FullXID
				for x := first; x < s.next; x++ {
					if top[x] == x && !s.ended[x] {
						open = append(open, x)
					}
				}
				for range n {
					switch r := random.IntN(4); {
					case r == 0 || len(open) == 0:
						x := s.begin()
						top[x], open = x, append(open, x)
					case r == 1:
						top[s.begin()] = open[random.IntN(len(open))]
					default:
						i := random.IntN(len(open))
						for x, of := range top {
							if of == open[i] {
								s.ended[x] = true
							}
						}
						open = append(open[:i], open[i+1:]...)
					}
				}
			}
			look := func() Snapshot {
				listed := &server{next: s.next, ended: map[FullXID]bool{}}
				for x, of := range top {
					listed.ended[x] = s.ended[x] || of != x // savepoints are not listed
				}
				snapshot, err := ParseSnapshot(listed.snapshot(first))
				if err != nil {
					t.Fatal(err)
				}
				return snapshot
			}
			run(20)
			before, began := map[FullXID]bool{}, look()
			for x := range s.ended {
				before[x] = true
			}
			run(20)
			later := look()
			from := began.FirstEnded(later)
			for x := range top {
				id := XID(x)
				if id < firstNormalXID {
					continue
				}
				if s.ended[x] && !before[x] && !later.Within(id, from) {
					t.Fatalf("%d of transaction %d ended between %s and %s and is not from %d on", x, top[x], began, later, from)
				}
				if later.Within(id, from) && x < from {
					t.Fatalf("%d is taken for one from %d on", x, from)
				}
				if began.Precedes(id) && !before[x] {
					t.Fatalf("%d had not ended at %s and is taken for older", x, began)
				}
			}
		}
	}
}

// A row that was frozen long ago may have any id: half a turn away, before or
// after, it is not recent.
func TestFrozenIDsAreNotRecent(t *testing.T) {
	t.Parallel()
	began, err := ParseSnapshot("12884901888:12884901900:12884901890") // 3·2^32
	if err != nil {
		t.Fatal(err)
	}
	later, err := ParseSnapshot("12884901950:12884901950:")
	if err != nil {
		t.Fatal(err)
	}
	from := began.FirstEnded(later)
	for _, x := range []XID{0, 1, 2, 1 << 30, 1<<31 - 1, 1 << 31, 1<<31 + 1, 1<<32 - 1} {
		if later.Within(x, from) {
			t.Errorf("id %d is taken for a recent one", x)
		}
	}
	for x := range XID(62) {
		if want := x >= 3; later.Within(x, 3<<32+2) != want {
			t.Errorf("id %d: %t, want %t", x, !want, want)
		}
	}
}
