package engine

import (
	"testing"
	"time"
)

// A made-up clock and made-up counts: each step says from which second on what is seen.
// The loop looks every second.
func TestProgressJudgesByWhatCameAbout(t *testing.T) {
	const limit = 30 * time.Second
	type step struct {
		at     int // seconds
		awaits bool
		done   uint64
		stall  int // seconds; 0: none
	}
	for name, steps := range map[string][]step{
		"nothing to do":                   {{0, false, 0, 0}, {1000, false, 0, 0}},
		"gets on":                         {{0, true, 1, 0}, {29, true, 2, 0}, {58, true, 3, 0}, {87, true, 4, 0}},
		"stalls":                          {{0, true, 0, 0}, {30, true, 0, 0}, {31, true, 0, 31}, {90, true, 0, 90}},
		"stalls after it got on":          {{0, true, 1, 0}, {20, true, 2, 0}, {50, true, 2, 0}, {51, true, 2, 31}},
		"recovers":                        {{0, true, 0, 0}, {40, true, 0, 40}, {41, true, 1, 0}, {60, true, 1, 0}},
		"done while there was no look":    {{0, true, 0, 0}, {40, true, 7, 0}},
		"idle for long, then busy":        {{0, true, 1, 0}, {1, false, 2, 0}, {500, true, 2, 0}, {529, true, 2, 0}, {531, true, 2, 31}},
		"nothing to do is no stall":       {{0, true, 0, 0}, {40, true, 0, 40}, {41, false, 0, 0}},
		"a term that fails like the last": {{0, true, 0, 0}, {16, false, 0, 0}, {25, true, 0, 0}, {40, true, 0, 40}},
		"given back, and busy much later": {{0, true, 0, 0}, {16, false, 0, 0}, {100, true, 0, 0}, {120, true, 0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			zero := time.Now()
			for of := range parts {
				var p progress
				for i, s := range steps {
					if i > 0 {
						for at := steps[i-1].at; at < s.at; at++ {
							p.look(zero.Add(time.Duration(at)*time.Second), of, steps[i-1].awaits, steps[i-1].done)
						}
					}
					now := zero.Add(time.Duration(s.at) * time.Second)
					p.look(now, of, s.awaits, s.done)
					got, since := p.stall(now, limit)
					want := now.Add(-time.Duration(s.stall) * time.Second)
					if (s.stall > 0) == since.IsZero() || s.stall > 0 && (got != of || !since.Equal(want)) {
						t.Fatalf("%v, after %d s: %v has stalled since %v, want for %d s", of, s.at, got, since, s.stall)
					}
				}
			}
		})
	}
}

func TestOwnStallsAreToldFirst(t *testing.T) {
	var p progress
	start := time.Now()
	for _, of := range []part{partPublishing, partReading, partWriting} {
		p.look(start, of, true, 0)
		if got, _ := p.stall(start.Add(time.Minute), 30*time.Second); got != of {
			t.Errorf("%v is told, want %v", got, of)
		}
	}
	if partPublishing.isOwn() || !partReading.isOwn() || !partWriting.isOwn() {
		t.Error("the broker's stall is the broker's alone")
	}
}

// The beginning of a pass is a statement that succeeds where those fail that read
// rows; it must not end the row of failures, which the pauses grow with.
func TestOnlyRowsThatAreReadEndTheFailures(t *testing.T) {
	r := &reader{taken: newTakenRows()}
	for range 3 {
		r.out = beginPass
		r.answered(nil)
		r.out = readChunk
		r.answered(errCutOff)
	}
	if r.failures != 3 || r.err == nil {
		t.Errorf("%d failures: %v", r.failures, r.err)
	}
	r.out = readChunk
	r.answered(nil)
	if r.failures != 0 || r.err != nil {
		t.Errorf("%d failures: %v", r.failures, r.err)
	}
}
