package engine

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestBackoffGrowsToItsMaximum(t *testing.T) {
	b := Backoff{Min: time.Second, Max: 5 * time.Minute}
	for n, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 9: 256 * time.Second, 10: 5 * time.Minute, 10_000: 5 * time.Minute} {
		if got := b.ceiling(n); got != want {
			t.Errorf("ceiling(%d) = %v, want %v", n, got, want)
		}
	}
	low, high := false, false
	for range 1000 {
		d := b.full(3)
		if d < 0 || d > 4*time.Second {
			t.Fatalf("full(3) = %v, out of 0..4s", d)
		}
		low, high = low || d < time.Second, high || d > 3*time.Second
		if e := b.equal(3); e < 2*time.Second || e > 4*time.Second {
			t.Fatalf("equal(3) = %v, out of 2s..4s", e)
		}
	}
	if !low || !high {
		t.Error("full jitter does not use the whole range")
	}
}

func TestPacerKeepsTheInterval(t *testing.T) {
	p := pacer{interval: 200 * time.Millisecond}
	start := time.Now()
	p.passBegins(start)
	p.read(2*time.Millisecond, 10)
	p.passEnded(start.Add(5*time.Millisecond), true)
	if got := p.until(start.Add(5 * time.Millisecond)); got != 195*time.Millisecond {
		t.Errorf("next pass in %v, want 195ms", got)
	}
}

func TestPacerFollowsABacklogAtOnce(t *testing.T) {
	p := pacer{interval: 200 * time.Millisecond}
	start := time.Now()
	p.passBegins(start)
	p.read(3*time.Second, 1_000_000)
	p.passEnded(start.Add(time.Minute), true)
	if got := p.until(start.Add(time.Minute)); got != 0 {
		t.Errorf("next pass in %v after a pass that drained a backlog, want at once", got)
	}
}

func TestPacerRestsAfterAPassThatBroughtNothing(t *testing.T) {
	p := pacer{interval: 200 * time.Millisecond}
	start := time.Now()
	p.passBegins(start)
	p.read(time.Second, 0) // a million rows that wait for their retries
	end := start.Add(time.Second)
	p.passEnded(end, true)
	if got := p.until(end); got != 4*time.Second {
		t.Errorf("next pass in %v, want four times the second it wasted", got)
	}
}

func TestPacerFollowsAPassThatWasCutShort(t *testing.T) {
	p := pacer{interval: 200 * time.Millisecond}
	start := time.Now()
	p.passBegins(start)
	p.read(5*time.Second, 4096) // a slow statement, and more to read
	end := start.Add(5 * time.Second)
	p.passEnded(end, false)
	if got := p.until(end); got != 0 {
		t.Errorf("next pass in %v although the last one left rows unread", got)
	}
}

func TestFaultLogTakesAFaultUnseenForLongAsANewOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := newFaultLog(slog.New(slog.NewTextHandler(&out, nil)))
		for range 100 {
			l.report("broken")
		}
		elapse(time.Hour)
		l.report("broken")
		if got := out.String(); strings.Count(got, "msg=broken") != 2 || strings.Contains(got, "for=") {
			t.Errorf("logged:\n%s", got)
		}
	})
}

func TestFaultLogSpeaksOnceThenAtGrowingIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := newFaultLog(slog.New(slog.NewTextHandler(&out, nil)))
		for range 10 * 60 { // ten minutes, once a second
			l.report("broken", slog.Any("error", errors.New("why")))
			elapse(time.Second)
		}
		// at 0, 10, 30, 70, 150, 310 s
		if n := strings.Count(out.String(), "msg=broken"); n != 6 {
			t.Errorf("%d lines in ten minutes, want 6:\n%s", n, out.String())
		}
		out.Reset()
		l.recovered("broken")
		l.recovered("broken")
		if got := out.String(); strings.Count(got, "msg=recovered") != 1 || !strings.Contains(got, "after=10m0s") {
			t.Errorf("recovery logged as %q", got)
		}
	})
}
