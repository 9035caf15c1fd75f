package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestTerminalHasOneLineThatIsRedrawnAndMakesWayForSteps(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out, true)
	p.show(counts{written: 12345, consumed: 12000, pending: 345, mode: "polling"})
	p.show(counts{written: 12346, consumed: 12001, pending: 345, mode: "polling"})
	p.step("broker stopped")
	screen := out.String()
	if got := strings.Count(screen, "\r\x1b[K"); got != 2 {
		t.Errorf("%d erasures, want 2 in %q", got, screen)
	}
	if got := strings.Count(screen, "\n"); got != 1 {
		t.Errorf("%d line ends, want 1 in %q", got, screen)
	}
	for line := range strings.SplitSeq(screen, "\r\x1b[K") {
		if len(line) > 79 {
			t.Errorf("line of %d characters does not fit a terminal: %q", len(line), line)
		}
	}
}

func TestPipeGetsPlainLines(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out, false)
	p.show(counts{written: 1000, mode: "polling"})
	p.step("broker stopped")
	p.stop()
	if text := out.String(); strings.ContainsAny(text, "\r\x1b") || strings.Count(text, "\n") != 2 {
		t.Errorf("not two plain lines: %q", text)
	}
}

func TestThousands(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 20000: "20,000", 1234567: "1,234,567", -100: "-100", -1000: "-1,000"} {
		if got := thousands(n); got != want {
			t.Errorf("thousands(%d) = %q, want %q", n, got, want)
		}
	}
}
