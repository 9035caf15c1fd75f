package engine

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

func TestMarkerIsWokenForABatchAndNotForEachOutcome(t *testing.T) {
	for _, c := range []struct {
		name   string
		window int
		puts   []int // outcomes that come each millisecond
		took   time.Duration
		want   int
	}{
		{"few outcomes", 4096, []int{1, 2, 3}, markLinger, 6},
		{"a full batch", 4096, []int{markBatch}, 0, markBatch},
		{"a batch that fills", 4096, []int{markBatch - 1, 0, 1, 1}, 2 * time.Millisecond, markBatch},
		{"a larger window", 100_000, []int{markBatch - 1, 0, 1, 1}, 2 * time.Millisecond, markBatch},
		{"a small window", 64, []int{1, 7, 1}, time.Millisecond, 8},
		{"one row at a time", 1, []int{1, 1}, 0, 1},
		{"no window at all", 0, []int{1, 1}, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newMarker(nil, relay.AttemptLimit{}, relay.Note{})
				k.lingering = time.NewTimer(time.Hour)
				defer k.lingering.Stop()
				k.expect(c.window)
				go func() {
					for _, n := range c.puts {
						k.outcomes.put(make([]outcome, n)...)
						time.Sleep(time.Millisecond)
					}
				}()
				<-k.outcomes.ready
				began := time.Now()
				k.linger(t.Context())
				if took := time.Since(began); took != c.took || len(k.unwritten) != c.want {
					t.Errorf("%d outcomes after %v, want %d after %v", len(k.unwritten), took, c.want, c.took)
				}
				time.Sleep(time.Second)
			})
		})
	}
}

func TestMailboxThatWasEmptiedWakesNobody(t *testing.T) {
	b := newMailbox[int]()
	b.enough.Store(2)
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

// A term begins with one row in flight. Its mark does not linger, since no other row can come
// before it is committed.
func TestMarkerDoesNotLingerWhileTheWindowIsSmall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scenario{T: t}
		enough := func() int64 { return s.term.marker.outcomes.enough.Load() }
		s.step("term closed window=64", "")
		s.step("pass", "")
		s.step("chunk", "id=1\nid=2\nid=3")
		if got := enough(); got != 1 {
			t.Errorf("a batch is %d outcomes while one row may be in flight", got)
		}
		s.step("ack 1", "")
		s.step("commit", "")
		if got := enough(); got != 8 {
			t.Errorf("a batch is %d outcomes while 64 rows may be in flight, want 8", got)
		}
	})
}
