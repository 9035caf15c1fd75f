package main

import "fmt"

// claims is what the run was meant to be: a history that is clean because
// nothing happened proves nothing.
type claims struct {
	clicks        int // planned
	rolledBack    int // as the writers counted
	minRolledBack int
	// unmarked are the messages that had been acknowledged and were not marked
	// when the relay was killed. Each has to come again.
	unmarked []string
}

// verdict is the last line, and the reasons why it is not as it should be.
type verdict struct {
	written         int // committed clicks
	rolledBack      int
	consumed        int // committed clicks that were counted
	marked          int
	redelivered     int // copies that the consumer dropped
	duplicates      int // effects beyond a click's first
	lost            int // committed clicks that were not counted
	orderViolations int

	// copies are the messages that are in the stream again. Beside them the broker
	// delivers messages again whose acknowledgement by the consumer it has lost:
	// redelivered counts both.
	copies int
	faults []string
}

// String is the line that the demonstration ends with.
func (v verdict) String() string {
	return fmt.Sprintf("demo: written=%d rolled_back=%d consumed=%d marked=%d redelivered=%d duplicates=%d lost=%d order_violations=%d",
		v.written, v.rolledBack, v.consumed, v.marked, v.redelivered, v.duplicates, v.lost, v.orderViolations)
}

// judge compares the ends of the pipeline. It is pure.
func judge(h history, c claims) verdict {
	v := verdict{written: len(h.clicks), rolledBack: h.rolledBack, redelivered: len(h.dropped)}
	v.judgeOutbox(h)
	v.judgeEffects(h)
	v.judgeStream(h, c)
	v.judgeClaims(c)
	return v
}

// blame notes n things that must not be; none is fine.
func (v *verdict) blame(n int, what string) {
	if n != 0 {
		v.faults = append(v.faults, fmt.Sprintf("%d %s", n, what))
	}
}

// judgeOutbox: each click has its one row, and each row is marked.
func (v *verdict) judgeOutbox(h history) {
	rows := make(map[click]int, len(h.outbox))
	dead := 0
	for _, r := range h.outbox {
		rows[r.click]++
		if r.sent {
			v.marked++
		}
		if r.dead {
			dead++
		}
	}
	without := 0
	for _, c := range h.clicks {
		if rows[c] != 1 {
			without++
		}
		delete(rows, c)
	}
	v.blame(without, "clicks without exactly one outbox row")
	v.blame(len(rows), "outbox rows without their click")
	v.blame(dead, "outbox rows given up as dead")
	v.blame(len(h.outbox)-v.marked, "outbox rows not marked as sent")
}

// judgeEffects: each click is counted once, by its own message, and nothing else.
func (v *verdict) judgeEffects(h history) {
	effects := make(map[click]int, len(h.counted))
	rows := make(map[string]click, len(h.outbox))
	for _, r := range h.outbox {
		rows[r.messageID] = r.click
	}
	ghosts := 0
	for _, e := range h.counted {
		effects[e.click]++
		if c, committed := rows[e.messageID]; !committed || c != e.click {
			ghosts++
		}
	}
	for _, c := range h.clicks {
		n := effects[c]
		v.duplicates += max(0, n-1)
		if n == 0 {
			v.lost++
		} else {
			v.consumed++
		}
	}
	v.blame(v.lost, "clicks lost: committed and never counted")
	v.blame(v.duplicates, "clicks counted again: the effect happened twice")
	v.blame(ghosts, "ghosts: counted for a message that no committed row explains")
}

// judgeStream: first deliveries of a link come in the order of its clicks; what
// came once had its effect, what came again was dropped.
func (v *verdict) judgeStream(h history, c claims) {
	rows := make(map[string]click, len(h.outbox))
	for _, r := range h.outbox {
		rows[r.messageID] = r.click
	}
	copies := make(map[string]int, len(rows))
	newest := map[string]int64{} // by link
	ghosts := 0
	for _, id := range h.stream {
		at, committed := rows[id]
		if !committed {
			ghosts++
			continue
		}
		copies[id]++
		if copies[id] > 1 {
			continue
		}
		if at.seq < newest[at.code] {
			v.orderViolations++
		}
		newest[at.code] = max(newest[at.code], at.seq)
	}
	unproved := 0
	for _, id := range c.unmarked {
		if copies[id] < 2 {
			unproved++
		}
	}
	v.blame(ghosts, "messages in the stream that no committed row explains")
	v.blame(v.orderViolations, "clicks first delivered after a later click of their link")
	v.blame(unproved, "messages unmarked at the relay's kill that were not sent again")
	v.copies = len(h.stream) - ghosts - len(copies)
	v.blame(max(0, v.copies-v.redelivered), "copies in the stream that the consumer did not drop")
}

// judgeClaims: the run was what it was said to be.
func (v *verdict) judgeClaims(c claims) {
	if v.written != c.clicks {
		v.faults = append(v.faults, fmt.Sprintf("%d clicks were committed instead of %d", v.written, c.clicks))
	}
	if v.rolledBack != c.rolledBack {
		v.faults = append(v.faults, fmt.Sprintf(
			"the ids in the outbox have %d gaps, but the writers rolled %d rows back", v.rolledBack, c.rolledBack))
	}
	if v.rolledBack < c.minRolledBack {
		v.faults = append(v.faults, fmt.Sprintf("only %d rows were rolled back, at least %d were planned", v.rolledBack, c.minRolledBack))
	}
	if len(c.unmarked) == 0 {
		v.faults = append(v.faults, "the relay was not killed between an acknowledgement and its mark")
	}
	if v.redelivered == 0 {
		v.faults = append(v.faults, "the consumer saw no copy: its deduplication was not put to the test")
	}
}
