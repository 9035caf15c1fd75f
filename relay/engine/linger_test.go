package engine

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

func TestMarkerIsWokenForABatchAndNotForEachOutcome(t *testing.T) {
	for _, c := range []struct {
		name string
		puts []int // outcomes that come each millisecond
		took time.Duration
		want int
	}{
		{"few outcomes", []int{1, 2, 3}, markLinger, 6},
		{"a full batch", []int{markBatch}, 0, markBatch},
		{"a batch that fills", []int{markBatch - 1, 0, 1, 1}, 2 * time.Millisecond, markBatch},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newMarker(nil, relay.AttemptLimit{}, relay.Note{})
				k.lingering = time.NewTimer(time.Hour)
				defer k.lingering.Stop()
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
