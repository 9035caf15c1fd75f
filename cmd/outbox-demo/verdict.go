package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
)

// window is how many messages the relay has in flight at most: the default of
// OUTBOX_MAX_IN_FLIGHT.
const window = 4096

// claims is what the run was meant to be: a history that is clean because
// nothing happened proves nothing.
type claims struct {
	clicks        int // planned
	rolledBack    int // as the writers counted
	minRolledBack int
	faults        int // each explains copies of what was in flight
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
	copies  int
	broker  []oracle.Finding // between the outbox and the broker
	effects []oracle.Finding // between the outbox and the consumer's effects
	faults  []string         // whatever else is not as it should be
}

// String is the line that the demonstration ends with.
func (v verdict) String() string {
	return fmt.Sprintf("demo: written=%d rolled_back=%d consumed=%d marked=%d redelivered=%d duplicates=%d lost=%d order_violations=%d",
		v.written, v.rolledBack, v.consumed, v.marked, v.redelivered, v.duplicates, v.lost, v.orderViolations)
}

// kept says whether everything is as it should be.
func (v verdict) kept() bool { return len(v.faults)+len(v.broker)+len(v.effects) == 0 }

// reasons says for a person what is not as it should be.
func (v verdict) reasons() string {
	var b strings.Builder
	for _, fault := range v.faults {
		fmt.Fprintf(&b, "broken: %s\n", fault)
	}
	for _, part := range []struct {
		name     string
		findings []oracle.Finding
	}{{"what the broker has", v.broker}, {"what the consumer did", v.effects}} {
		if len(part.findings) > 0 {
			fmt.Fprintf(&b, "%s, compared with what was committed:\n%s", part.name, oracle.Report(part.findings))
		}
	}
	return strings.TrimSpace(b.String())
}

// judge compares the ends of the pipeline. It does no I/O.
func judge(h history, c claims) (verdict, error) {
	v := verdict{written: len(h.clicks), rolledBack: h.rolledBack, redelivered: len(h.dropped)}
	committed, err := v.pair(h)
	if err != nil {
		return v, err
	}
	effects := make([]oracle.Delivery, len(h.effects))
	for i, e := range h.effects {
		digest, err := e.click.digest()
		if err != nil {
			return v, err
		}
		effects[i] = oracle.Delivery{StreamSeq: uint64(i + 1), MessageID: e.messageID, Digest: digest}
	}
	v.broker = oracle.Judge(committed, h.stream, h.table, oracle.Limits{Redeliveries: c.faults * window})
	v.effects = slices.DeleteFunc(oracle.Judge(committed, effects, h.table, oracle.Limits{Unordered: true}), ofTable)
	v.count(h, committed)
	v.judgeCopies(h, c)
	v.judgeClaims(c)
	return v, nil
}

// blame notes n things that must not be; none is fine.
func (v *verdict) blame(n int, what string) {
	if n != 0 {
		v.faults = append(v.faults, fmt.Sprintf("%d %s", n, what))
	}
}

// pair finds each click's one row, and makes of the two what was committed: the
// content is the click's, the identity the row's.
func (v *verdict) pair(h history) ([]oracle.Written, error) {
	rows := make(map[string][]row, len(h.outbox))
	for _, r := range h.outbox {
		rows[r.click] = append(rows[r.click], r)
	}
	var committed []oracle.Written
	without := 0
	for _, c := range h.clicks {
		digest, err := c.digest()
		if err != nil {
			return nil, err
		}
		if len(rows[c.Click]) != 1 {
			without++
		}
		for _, r := range rows[c.Click] {
			committed = append(committed, oracle.Written{
				Ref: r.Ref, Key: c.Code, Keyed: true, Seq: c.Seq, Digest: digest, Expect: oracle.Delivered,
			})
		}
		delete(rows, c.Click)
	}
	v.blame(without, "clicks without exactly one outbox row")
	v.blame(len(rows), "clicks in outbox rows that were not committed")
	return committed, nil
}

// ofTable says that a finding is about the table alone, which is judged beside the
// broker.
func ofTable(f oracle.Finding) bool {
	switch f.Clause() {
	case oracle.ClauseSettled, oracle.ClauseKept, oracle.ClauseAlive:
		return true
	default:
		return false
	}
}

// count fills in the last line.
func (v *verdict) count(h history, committed []oracle.Written) {
	for _, state := range h.table {
		if state.Sent {
			v.marked++
		}
	}
	for _, f := range v.broker {
		if _, ok := f.(oracle.Overtaken); ok {
			v.orderViolations++
		}
	}
	for _, f := range v.effects {
		switch f := f.(type) {
		case oracle.Lost:
			v.lost++
		case oracle.Repeated:
			v.duplicates += f.Copies
		case oracle.Reidentified:
			v.duplicates++
		}
	}
	v.consumed = len(committed) - v.lost
}

// judgeCopies: what was unmarked at the relay's kill came again, and what is in the
// stream again the consumer dropped.
func (v *verdict) judgeCopies(h history, c claims) {
	times := make(map[string]int, len(h.stream))
	for _, d := range h.stream {
		times[d.MessageID]++
	}
	unproved := 0
	for _, id := range c.unmarked {
		if times[id] < 2 {
			unproved++
		}
	}
	v.copies = len(h.stream) - len(times)
	v.blame(unproved, "messages unmarked at the relay's kill that were not sent again")
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
