package engine

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/wal"
)

func parseSnapshot(t *testing.T, text string) wal.Snapshot {
	t.Helper()
	s, err := wal.ParseSnapshot(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// told is what the log tells of a row.
func told(x wal.XID, change func(*relay.TailEvent)) relay.TailEvent {
	ev := relay.TailEvent{
		XID: x, Position: wal.LSN(x), Pending: true, Due: true,
		Message: &relay.Message{Ref: relay.Ref{ID: int64(x)}},
	}
	if change != nil {
		change(&ev)
	}
	return ev
}

func TestHorizonJudgesWhatTheLogTells(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		event       relay.TailEvent
		gated       bool // by a synchronous standby
		taken, held bool
		want        verdict
	}{
		"a position":                              {relay.TailEvent{XID: 200}, false, false, false, eventSkip},
		"what the survey saw":                     {told(100, nil), false, false, false, eventSkip},
		"what the survey saw, held":               {told(100, nil), false, false, true, eventSkip},
		"what ran during the survey":              {told(150, nil), false, false, false, eventTake},
		"what came after the survey":              {told(200, nil), false, false, false, eventTake},
		"a row that was taken":                    {told(200, nil), false, true, false, eventSkip},
		"a row inserted as sent":                  {told(200, func(ev *relay.TailEvent) { ev.Pending = false }), false, false, false, eventSkip},
		"a row that is not due":                   {told(200, func(ev *relay.TailEvent) { ev.Due = false }), false, false, false, eventLeave},
		"a row that is not due, and not visible":  {told(200, func(ev *relay.TailEvent) { ev.Due = false }), true, false, false, eventLeave},
		"a row of a held key":                     {told(200, nil), false, false, true, eventLeave},
		"a row that is not visible":               {told(200, nil), true, false, false, eventWait},
		"a row of a held key that is not visible": {told(200, nil), true, false, true, eventWait},
		"what has become visible since":           {told(170, nil), true, false, false, eventTake},
	} {
		h := newHorizon(GateAuto)
		h.moveTo(relay.Survey{Complete: true, Snapshot: parseSnapshot(t, "150:160:150"), Synchronous: c.gated})
		h.gate.visible = parseSnapshot(t, "180:180:")
		if got := h.judge(c.event, c.taken, c.held); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestGateSettings(t *testing.T) {
	t.Parallel()
	for setting, passes := range map[VisibilityGate][2]bool{ // without and with a synchronous standby
		GateAuto: {true, false}, GateOn: {false, false}, GateOff: {true, true},
	} {
		for i, synchronous := range []bool{false, true} {
			h := newHorizon(setting)
			h.moveTo(relay.Survey{Complete: true, Snapshot: parseSnapshot(t, "100:100:"), Synchronous: synchronous})
			if got := h.judge(told(100, nil), false, false) == eventTake; got != passes[i] {
				t.Errorf("gate %s, synchronous %t: passes %t", setting, synchronous, got)
			}
		}
	}
}

// The gate looks at once, then ever more seldom, for each transaction anew.
func TestGateLooksEverMoreSeldom(t *testing.T) {
	t.Parallel()
	now := time.Now()
	g := gate{setting: GateOn}
	for _, c := range []struct {
		xid  wal.XID
		want time.Duration
	}{{3, 0}, {3, time.Millisecond}, {3, 2 * time.Millisecond}, {4, 0}, {4, time.Millisecond}} {
		g.keep(told(c.xid, nil), now)
		if got := g.next.Sub(now); got != c.want {
			t.Errorf("transaction %d is looked at after %s, want %s", c.xid, got, c.want)
		}
		if ev, ok := g.giveOut(); !ok || ev.XID != c.xid || g.holdsBack() {
			t.Fatal("the event that was kept back is not given out, or is still there")
		}
	}
}

// A survey that does not see what was left to the table would end the hold of a key
// without bringing its row.
func TestHorizonMovesToNoSurveyThatLacksWhatWasLeft(t *testing.T) {
	t.Parallel()
	h := newHorizon(GateAuto)
	h.leave(100)
	h.leave(150)
	for text, want := range map[string]bool{"100:160:100,150": false, "150:160:150": false, "100:160:100": false, "160:160:": true} {
		if got := h.covers(parseSnapshot(t, text)); got != want {
			t.Errorf("%s covers 100 and 150: %t", text, got)
		}
	}
	h.moveTo(relay.Survey{Complete: true, Snapshot: parseSnapshot(t, "160:160:")})
	if !h.covers(parseSnapshot(t, "100:160:100,150")) {
		t.Error("what was left to the table outlives the survey that covered it")
	}
}

// Rows that a survey brings are missed by the log once it has been read past them,
// but for the rows that the log cannot be expected to tell of.
func TestHorizonCountsWhatTheLogHasMissed(t *testing.T) {
	t.Parallel()
	survey := relay.Survey{Complete: true, Snapshot: parseSnapshot(t, "100:100:")}
	for name, c := range map[string]struct {
		before func(*horizon) // between two surveys
		after  func(*horizon)
		want   int
	}{
		"nothing is told":   {func(*horizon) {}, func(*horizon) {}, 2},
		"one is told":       {func(*horizon) {}, func(h *horizon) { h.confirmed(relay.Ref{ID: 1}) }, 1},
		"all was returned":  {func(h *horizon) { h.leaveAll() }, func(*horizon) {}, 0},
		"all is returned":   {func(*horizon) {}, func(h *horizon) { h.leaveAll() }, 0},
		"returned long ago": {func(h *horizon) { h.leaveAll(); h.surveyBegins(); h.moveTo(survey) }, func(*horizon) {}, 2},
		// The survey that was out then did not bring it all. The next one does.
		"returned meanwhile": {func(h *horizon) { h.surveyBegins(); h.leaveAll(); h.moveTo(survey) }, func(*horizon) {}, 0},
		"before log is read": {func(h *horizon) { *h = newHorizon(GateAuto) }, func(*horizon) {}, 0},
	} {
		h := newHorizon(GateAuto)
		h.moveTo(survey)
		c.before(&h)
		h.moveTo(survey)
		h.brought(relay.Ref{ID: 1}, 10)
		h.brought(relay.Ref{ID: 2}, 20)
		c.after(&h)
		if !h.valid() {
			t.Errorf("%s: the horizon is not valid: %+v", name, h)
		}
		if missed := h.passed(9); missed != 0 {
			t.Errorf("%s: %d rows are missed before the log has come to them", name, missed)
		}
		if missed := h.passed(10) + h.passed(20); missed != c.want {
			t.Errorf("%s: %d rows are missed, want %d", name, missed, c.want)
		}
	}
}

// Transactions of one row commit, become visible in any order, and come by the log in
// the order of their commits; surveys come at any time, also beside a gate, and rows are
// left to the table now and then. Each row is taken once, and with a gate not before it
// is visible.
func TestHorizonTakesEachRowOnce(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 500 {
		const first, rows = 100, 60
		gated := round%2 == 0
		h := newHorizon(GateAuto)
		committed := random.Perm(rows) // in this order
		visible, taken := make([]bool, rows), make([]bool, rows)
		commits, told := 0, 0
		take := func(row int, by string) {
			if taken[row] {
				t.Fatalf("round %d: row %d is taken twice, at last by the %s", round, row, by)
			}
			if gated && !visible[row] {
				t.Fatalf("round %d: row %d is taken by the %s and not visible", round, row, by)
			}
			taken[row] = true
		}
		snapshot := func() wal.Snapshot {
			var running []string
			for row, sees := range visible {
				if !sees {
					running = append(running, fmt.Sprint(first+row))
				}
			}
			return parseSnapshot(t, fmt.Sprintf("%d:%d:%s", first, first+rows, strings.Join(running, ",")))
		}
		read := func(row int) {
			ev := relay.TailEvent{XID: wal.XID(first + row), Pending: true, Due: true, Message: &relay.Message{Ref: relay.Ref{ID: int64(row)}}}
			switch h.judge(ev, false, random.IntN(4) == 0) {
			case eventWait:
				h.keep(ev, time.Time{})
			case eventLeave:
				h.leave(ev.XID)
			case eventTake:
				take(row, "log")
			case eventSkip:
			}
		}
		survey := func() {
			s := snapshot()
			if !h.covers(s) {
				return
			}
			h.moveTo(relay.Survey{Complete: true, Snapshot: s, Synchronous: gated})
			for row, sees := range visible {
				if sees && !taken[row] { // what was taken is marked, or in flight
					take(row, "survey")
				}
			}
			if ev, ok := h.gate.giveOut(); ok {
				read(int(ev.Message.ID))
			}
		}
		survey() // joins
		for told < rows || h.gate.holdsBack() {
			switch random.IntN(6) {
			case 0, 1:
				commits = min(rows, commits+1)
			case 2:
				if commits > 0 {
					visible[committed[random.IntN(commits)]] = true
				}
			case 3:
				if told < commits && !h.gate.holdsBack() {
					read(committed[told])
					told++
				}
			case 4:
				if random.IntN(5) == 0 {
					survey()
				}
			case 5:
				h.gate.visible = snapshot()
				if ev, ok := h.gate.giveOut(); ok {
					read(int(ev.Message.ID))
				}
			}
			if !h.valid() {
				t.Fatalf("round %d: the horizon is not valid: %+v", round, h)
			}
		}
		for row := range visible {
			visible[row] = true
		}
		survey()
		for row := range taken {
			if !taken[row] {
				t.Fatalf("round %d: row %d is never taken", round, row)
			}
		}
	}
}
