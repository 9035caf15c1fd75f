package engine

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

func TestBatchIsSplitIntoMarksAndRefusals(t *testing.T) {
	for _, kinds := range []string{"", "m", "r", "mmm", "rr", "mr", "rm", "mmrrm", "rmmr"} {
		var batch []outcome
		for i, kind := range kinds {
			o := outcome{mark: relay.Mark{Ref: relay.Ref{ID: int64(i)}}}
			if kind == 'r' {
				o.refusal = &relay.Refusal{Ref: o.ref()}
			}
			batch = append(batch, o)
		}
		marks, refusals := byKind(batch)
		for name, part := range map[string][]outcome{"m": marks, "r": refusals} {
			if n := strings.Count(kinds, name); len(part) != n {
				t.Errorf("%s: %d of %s, want %d", kinds, len(part), name, n)
			}
			for _, o := range part {
				if kinds[o.ref().ID:][:1] != name {
					t.Errorf("%s: row %d is among %s", kinds, o.ref().ID, name)
				}
			}
			if !slices.IsSortedFunc(part, func(a, b outcome) int { return int(a.ref().ID - b.ref().ID) }) {
				t.Errorf("%s: another order", kinds)
			}
		}
	}
}

// The rows outside the window are bounded by number and by bytes; what is over the
// bound stays in the window.
func TestRowsOutsideTheWindowAreBounded(t *testing.T) {
	row := func(key int) *item { return &item{Message: &relay.Message{Key: strings.Repeat("k", key)}} }
	o := &outside{limit: tally{rows: 3, bytes: 1 << 20}}
	a, b := row(0), row(0)
	if !o.move(a, behindALock) || !o.move(b, setAside) || o.move(row(1<<20), behindALock) {
		t.Error("two rows fit, and none with a key of a megabyte")
	}
	if o.move(a, setAside) || o.rows[setAside] != 2 || o.rows[behindALock] != 0 {
		t.Errorf("a row that is outside leaves the window once: %+v", o)
	}
	if !o.move(row(0), behindALock) || o.move(row(0), behindALock) {
		t.Error("three rows fit")
	}
	if !o.remove(a) || o.sum.rows != 2 || o.remove(row(0)) {
		t.Errorf("%+v", o)
	}
}

func TestTableBreakerProbesMoreAndMoreRarely(t *testing.T) {
	var b tableBreaker
	now := time.Now()
	cause := errors.New("disk full")
	b.fail(now, true, cause)
	if !b.isOpen() || b.probeAt().Sub(now) != 100*time.Millisecond || b.retryAt().Sub(now) != 100*time.Millisecond {
		t.Errorf("%+v", b)
	}
	for range 3 {
		b.fail(now, false, cause)
	}
	if b.probeAt().Sub(now) != 100*time.Millisecond || b.retryAt().Sub(now) != 800*time.Millisecond {
		t.Errorf("another row waits for %v, a known one for %v", b.probeAt().Sub(now), b.retryAt().Sub(now))
	}
	for range 20 {
		b.fail(now, true, cause)
	}
	later := now.Add(29 * time.Second)
	b.fail(later, false, cause)
	if b.waits(later); b.probeAt().Sub(now) != 30*time.Second {
		t.Errorf("a known row that is tried again puts off a new one for %v", b.probeAt().Sub(later))
	}
	b.last = now
	if b.probeAt().Sub(now) != 30*time.Second || b.retryAt().Sub(now) != 5*time.Second {
		t.Errorf("another row waits for %v, a known one for %v", b.probeAt().Sub(now), b.retryAt().Sub(now))
	}
	if b.close(); b.isOpen() {
		t.Error("it is open")
	}
}
