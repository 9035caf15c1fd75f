package main

import (
	"fmt"
	"io"
	"time"
)

// progress tells how far a command has got: on a terminal in one line that it writes
// again and again, elsewhere in a line now and then.
type progress struct {
	w        io.Writer
	terminal bool
	every    time.Duration
	last     time.Time
	shown    bool // a line is on the terminal
}

func newProgress(w io.Writer) *progress {
	p := &progress{w: w, terminal: isTerminal(w), every: 5 * time.Second, last: time.Now()}
	if p.terminal {
		p.every = 200 * time.Millisecond
	}
	return p
}

func (p *progress) say(format string, args ...any) {
	now := time.Now()
	if now.Sub(p.last) < p.every {
		return
	}
	p.last = now
	if !p.terminal {
		fmt.Fprintf(p.w, format+"\n", args...)
		return
	}
	p.shown = true
	fmt.Fprintf(p.w, "\r\x1b[K"+format, args...)
}

// clear takes the line off the terminal.
func (p *progress) clear() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}
