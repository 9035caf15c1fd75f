package engine

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

const never = time.Minute

func TestMarkerIsWokenForABatchAndNotForEachOutcome(t *testing.T) {
	for _, c := range []struct {
		name    string
		puts    []int // outcomes that come each millisecond
		crowded time.Duration
		took    time.Duration
		want    int
	}{
		{"few outcomes", []int{1, 2, 3}, never, markLinger, 6},
		{"a full batch", []int{markBatch}, never, 0, markBatch},
		{"a batch that fills", []int{markBatch - 1, 0, 1, 1}, never, 2 * time.Millisecond, markBatch},
		{"a batch that fills late", []int{1, 0, 0, 0, 0, markBatch, 1}, never, 5 * time.Millisecond, markBatch + 1},
		{"others wait from the beginning", []int{1, 0, 1, 0, 1}, 0, crowdedLinger, 2},
		{"others begin to wait", []int{1, 1}, 10 * time.Millisecond, 10 * time.Millisecond, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newMarker(nil, relay.AttemptLimit{}, relay.Note{})
				k.lingering = time.NewTimer(time.Hour)
				defer k.lingering.Stop()
				if c.crowded == 0 {
					k.crowd(true)
					<-k.crowding // an earlier batch was told
				}
				defer time.AfterFunc(c.crowded, func() { k.crowd(true) }).Stop()
				for i, n := range c.puts {
					at := time.Duration(i) * time.Millisecond
					defer time.AfterFunc(at, func() { k.outcomes.put(make([]outcome, n)...) }).Stop()
				}
				<-k.outcomes.ready
				began := time.Now()
				k.linger(t.Context())
				if took := time.Since(began); took != c.took || len(k.unwritten) != c.want {
					t.Errorf("%d outcomes after %v, want %d after %v", len(k.unwritten), took, c.want, c.took)
				}
			})
		})
	}
}

func TestMailboxThatWasEmptiedWakesNobody(t *testing.T) {
	b := newBatchMailbox[int](2)
	b.put(1)
	if len(b.full) != 0 {
		t.Error("one of two makes it full")
	}
	b.put(2)
	if len(b.full) != 1 || len(b.ready) != 1 {
		t.Error("two of two do not make it full")
	}
	if got := b.take(); len(got) != 2 || len(b.full)+len(b.ready) != 0 {
		t.Errorf("after %v were taken, somebody is woken", got)
	}
}

// A term begins with one row in flight. Its mark does not linger for long, since the others
// wait for it; nor do the last ones of a relay that is stopped.
func TestMarkerKnowsThatOthersWaitForMarks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scenario{T: t}
		crowded := func(when string, want bool) {
			t.Helper()
			if got := s.term.marker.crowded.Load(); got != want {
				t.Errorf("%s: rows wait for marks: %v, want %v", when, got, want)
			}
		}
		s.step("term closed window=2", "")
		s.step("pass", "")
		s.step("chunk", "id=1\nid=2\nid=3")
		crowded("one row may be in flight", true)
		s.step("ack 1", "")
		s.step("commit", "")
		crowded("all rows are in flight", false)
		s.step("stop", "")
		crowded("the relay is stopped", true)
	})
}
