package engine

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/wal"
)

// The life of a tail, stepped without a server.

// newTestTail makes a tail without a server and a goroutine. Its stream is the
// test's to step.
func newTestTail(t *testing.T, now time.Time) (*tailing, *tail) {
	t.Helper()
	_, cancel := context.WithCancel(t.Context())
	memory := newMemory(limits{window: 4, windowBytes: 1 << 20, chain: 4}, OrderByKey, 1<<20)
	search := &tailing{
		config:     TailConfig{Wanted: true, ReconcileInterval: time.Minute, MaxWAL: 1 << 30, Retry: Backoff{time.Second, time.Minute}},
		openStream: func() *stream { return newStream(cancel, 1) },
		intake: &intake{
			memory: memory,
			limits: bufferLimits{rows: 16, bytes: 1 << 20},
			quick:  true, messageLimit: func() int64 { return 0 },
			reader: &reader{session: newReadSession(nil, nil), taken: memory.taken},
		},
	}
	if search.advance(now); search.tail == nil {
		t.Fatal("no tail is opened although the passes keep up")
	}
	return search, search.tail
}

// A phase that the table does not allow costs the tail, which says so, and not the
// process.
func TestPhaseWithoutAnEdgeLeavesTheTail(t *testing.T) {
	t.Parallel()
	now := time.Now()
	search, tail := newTestTail(t, now)
	tail.enter(tailReading, now)
	if tail.phase != tailClosing || !errors.Is(search.cause, errNoEdge) || !strings.HasSuffix(search.left, "from opening to reading") {
		t.Errorf("the tail is %s, left for %q (%v)", tail.phase, search.left, search.cause)
	}
	tail.enter(tailReading, now)
	if tail.phase != tailClosing || search.failures != 1 {
		t.Errorf("a tail that was left is %s after a phase without an edge; %d failures", tail.phase, search.failures)
	}
}

// A tail is made when its slot is, and dropped whole: nothing of it is left when the
// next one is opened.
func TestTailIsDroppedWhole(t *testing.T) {
	t.Parallel()
	now := time.Now()
	search, first := newTestTail(t, now)
	search.stepped(streamStep{kind: streamOpened}, now)
	if search.polls() || first.phase != tailJoining {
		t.Fatalf("polls while the tail is %s", first.phase)
	}
	search.advance(now)
	if out := search.intake.reader.out; out != readSurvey {
		t.Fatalf("the statement before the log is read: %s", out)
	}
	search.allReturned(now) // the broker is down
	search.stepped(streamStep{kind: streamEnded}, now)
	if search.tail != nil || search.left != "the broker takes no messages" {
		t.Fatalf("the tail stays, or was left for %q", search.left)
	}
	later := search.next
	if search.advance(later); search.tail != nil || search.polls() {
		t.Fatal("a tail is opened, or a pass may begin, before the survey of the last tail was answered")
	}
	search.intake.reader.answered(nil)
	search.result(readResult{kind: readSurvey}, later)
	if search.advance(later); search.tail == nil || search.tail == first || !search.polls() {
		t.Fatal("no new tail is opened once the survey of the last one was answered")
	}
}

// startReading takes a tail to where the log is read.
func startReading(t *testing.T, search *tailing, now time.Time) {
	t.Helper()
	search.stepped(streamStep{kind: streamOpened}, now)
	search.advance(now)
	answer(search, readResult{kind: readSurvey, survey: relay.Survey{Complete: true, Snapshot: parseSnapshot(t, "100:100:")}}, now)
	search.stepped(streamStep{kind: streamStarted}, now)
	if !search.reads() {
		t.Fatalf("the tail is %s after a complete survey, not reading", search.tail.phase)
	}
}

// answer answers the statement that is out.
func answer(search *tailing, res readResult, now time.Time) {
	reader := search.intake.reader
	<-reader.session.requests
	reader.answered(res.err)
	search.result(res, now)
	reader.takenIn()
}

// A tail that is not read for five seconds is left, whatever the cause, and says
// which.
func TestTailThatIsNotReadSaysWhy(t *testing.T) {
	t.Parallel()
	start := time.Now()
	for name, c := range map[string]struct {
		hinder func(*tailing)
		reason string
	}{
		"a survey hangs": {func(s *tailing) {
			answer(s, readResult{kind: inspectTail}, start)
			s.advance(start.Add(time.Hour)) // the reconcile interval is over
		}, "the table cannot be read in time beside the log"},
		"a gate": {func(s *tailing) {
			s.tail.horizon.gate.setting = GateOn
			s.tail.read(told(200, nil), start)
		}, "a transaction in the log is not visible yet: it waits for the synchronous standby"},
		"rows have returned": {func(s *tailing) { s.allReturned(start) }, "the broker was away, or a transaction that is in the log is not visible yet"},
		"a full buffer": {func(s *tailing) {
			for x := range wal.XID(16) {
				s.tail.read(told(200+x, nil), start)
			}
		}, "the broker does not keep up"},
	} {
		search, tail := newTestTail(t, start)
		startReading(t, search, start)
		search.advance(start) // an inspection is out
		search.noteUnread(start, false)
		if !tail.unread.IsZero() {
			t.Fatalf("%s: the tail counts as unread before that", name)
		}
		c.hinder(search)
		if search.events(false) != nil {
			t.Errorf("%s: the log is read on", name)
		}
		search.noteUnread(start, false)
		search.leaveIfUnread(start.Add(unreadLimit - 1))
		if tail.phase != tailReading {
			t.Errorf("%s: left before the limit", name)
		}
		search.leaveIfUnread(start.Add(unreadLimit))
		if tail.phase != tailClosing || search.left != c.reason {
			t.Errorf("%s: the tail is %s, left for %q, want %q", name, tail.phase, search.left, c.reason)
		}
	}
}
