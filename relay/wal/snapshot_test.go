package wal

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// server is the dumb model: it runs transactions one id after the other and
// knows which have ended.
type server struct {
	next  FullXID
	ended map[FullXID]bool
}

func (s *server) begin() FullXID {
	s.next++
	return s.next - 1
}

// snapshot says what pg_current_snapshot would, in its text.
func (s *server) snapshot(first FullXID) string {
	xmin := s.next
	var running []string
	for x := first; x < s.next; x++ {
		if !s.ended[x] {
			xmin = min(xmin, x)
			running = append(running, fmt.Sprint(uint64(x)))
		}
	}
	return fmt.Sprintf("%d:%d:%s", xmin, s.next, strings.Join(running, ","))
}

func TestSnapshotAgreesWithAModelAcrossWraparound(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, first := range []FullXID{3, 1000, 1<<31 - 50, 1<<31 + 7, 1<<32 - 60, 1<<32 + 3, 5<<32 - 100, 1<<40 + 1<<31} {
		s := &server{next: first, ended: map[FullXID]bool{}}
		for range 200 {
			if x := s.begin(); random.IntN(3) > 0 {
				s.ended[x] = true
			}
			if old := first + FullXID(random.Uint64N(uint64(s.next-first))); random.IntN(2) == 0 {
				s.ended[old] = true
			}
			text := s.snapshot(first)
			snapshot, err := ParseSnapshot(text)
			if err != nil || !snapshot.valid() || snapshot.String() != text {
				t.Fatalf("%q was read as %q (%v)", text, snapshot, err)
			}
			for x := first; x < s.next+5; x++ {
				if got := snapshot.Visible(x); got != s.ended[x] {
					t.Fatalf("transaction %d is visible in %s: %v", x, text, got)
				}
				if short := XID(x); short >= firstNormalXID && snapshot.Sees(short) != s.ended[x] {
					t.Fatalf("xid %d (of %d) is seen in %s: %v", short, x, text, !s.ended[x])
				}
			}
		}
	}
}

func TestXIDsFarFromTheSnapshotAreTakenForTheNearestTransaction(t *testing.T) {
	const half = 1 << 31
	for _, c := range []struct {
		snapshot string
		xid      XID
		sees     bool
	}{
		{"500:500:", 499, true},
		{"500:500:", 500, false},
		{"500:500:", math.MaxUint32, false},                             // before the first epoch there is nothing
		{"500:500:", half + 499, false},                                 // ahead
		{"4294967396:4294967396:", math.MaxUint32, true},                // 2^32 + 100: the epoch before
		{"4294967396:4294967396:", 99, true},                            //
		{"4294967396:4294967396:", 100, false},                          //
		{"4294967396:4294967396:", half + 100, true},                    // exactly 2^31 behind
		{"4294967396:4294967396:", half + 99, false},                    // 2^31 - 1 ahead
		{"9000000000:9000000000:", XID(9000000000 - 1 - 1<<32*2), true}, //
		{"500:500:", 0, false},                                          // no transaction has these
		{"500:500:", 1, false},                                          //
		{"500:500:", 2, false},                                          //
	} {
		snapshot, err := ParseSnapshot(c.snapshot)
		if err != nil {
			t.Fatal(err)
		}
		if got := snapshot.Sees(c.xid); got != c.sees {
			t.Errorf("xid %d is seen in %s: %v", c.xid, c.snapshot, got)
		}
	}
	if (Snapshot{}).Sees(3) || (Snapshot{}).Visible(3) {
		t.Error("the zero snapshot sees a transaction")
	}
}

func TestMalformedSnapshotsAreRefused(t *testing.T) {
	for _, text := range []string{
		"", ":", "::", "1:2", "2:1:", "1:2:,", "1:5:2,", "1:5:,2", "1:5:3,2", "1:5:2,2", "1:5:5", "2:5:1", "1:5:x", "-1:5:", "1:5:2:3",
		" 1:5:", "18446744073709551616:18446744073709551616:",
	} {
		if got, err := ParseSnapshot(text); err == nil {
			t.Errorf("%q was read as %s", text, got)
		}
	}
}

func FuzzSnapshot(f *testing.F) {
	f.Add("10:20:10,14,15", uint32(12))
	f.Add("4294967290:4294967300:4294967290,4294967296", uint32(1))
	f.Add("1:2:,", uint32(0))
	f.Fuzz(func(t *testing.T, text string, xid uint32) {
		s, err := ParseSnapshot(text)
		if err != nil {
			return
		}
		if !s.valid() {
			t.Fatalf("%q was read as the invalid %s", text, s)
		}
		if again, err := ParseSnapshot(s.String()); err != nil || again.String() != s.String() {
			t.Errorf("%s was read back as %s (%v)", s, again, err)
		}
		seen := s.Sees(XID(xid))
		// The model: try the epochs beside, and take the nearest transaction.
		for epoch := s.xmax>>32 - 1; epoch != s.xmax>>32+2; epoch++ {
			full := epoch<<32 | FullXID(xid)
			distance := int64(full - s.xmax)
			if epoch > math.MaxUint32 || distance < -1<<31 || distance >= 1<<31 || xid < 3 {
				continue
			}
			if want := full < s.xmax && (full < s.xmin || !slices.Contains(s.running, full)); seen != want {
				t.Errorf("xid %d, transaction %d, is seen in %s: %v", xid, full, s, seen)
			}
			return
		}
		if seen {
			t.Errorf("xid %d, which no transaction has, is seen in %s", xid, s)
		}
	})
}
