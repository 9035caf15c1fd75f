package main

import (
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"
)

// How often the counts are shown: redrawn in place, or as lines of their own.
const (
	redrawEvery = 250 * time.Millisecond
	lineEvery   = 2 * time.Second
)

// counts are what a progress line shows.
type counts struct {
	written  int
	consumed int
	pending  int
	mode     string // as the relay logs it
}

// progress tells a person what is going on: steps as lines, and the counts in
// between, on a terminal in one line that is redrawn. Safe for concurrent use.
type progress struct {
	out      io.Writer
	terminal bool
	began    time.Time

	mu      sync.Mutex
	drawn   bool   // a redrawn line is on the screen
	samples []mark // of the last second or two, for the rate
}

type mark struct {
	at       time.Time
	consumed int
}

func newProgress(out io.Writer, terminal bool) *progress {
	return &progress{out: out, terminal: terminal, began: time.Now()}
}

// interval is how often show is worth calling.
func (p *progress) interval() time.Duration {
	if p.terminal {
		return redrawEvery
	}
	return lineEvery
}

// step says in one line what happens.
func (p *progress) step(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	fmt.Fprintf(p.out, "%s  %s\n", p.clock(), fmt.Sprintf(format, args...))
}

// plain prints a text as it is, after the last step.
func (p *progress) plain(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	fmt.Fprintln(p.out, text)
}

// show draws the counts.
func (p *progress) show(c counts) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// Short enough for a terminal of 80 columns: a wrapped line cannot be redrawn.
	line := fmt.Sprintf("%s  written %6s  consumed %6s  pending %5s  %5s/s  %s",
		p.clock(), thousands(c.written), thousands(c.consumed), thousands(c.pending),
		thousands(p.rate(c.consumed)), c.mode)
	if !p.terminal {
		fmt.Fprintln(p.out, line)
		return
	}
	p.erase()
	fmt.Fprint(p.out, line)
	p.drawn = true
}

// stop leaves the cursor on an empty line.
func (p *progress) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
}

func (p *progress) erase() {
	if p.drawn {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.drawn = false
	}
}

func (p *progress) clock() string {
	return fmt.Sprintf("%5.1f s", time.Since(p.began).Seconds())
}

// rate is how many clicks per second were consumed lately.
func (p *progress) rate(consumed int) int {
	now := time.Now()
	p.samples = append(p.samples, mark{now, consumed})
	for len(p.samples) > 2 && now.Sub(p.samples[1].at) >= time.Second {
		p.samples = p.samples[1:]
	}
	first := p.samples[0]
	if elapsed := now.Sub(first.at).Seconds(); elapsed > 0 {
		return int(float64(consumed-first.consumed) / elapsed)
	}
	return 0
}

// thousands writes 12345 as 12,345.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
