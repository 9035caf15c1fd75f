package engine

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestEveryTailGoesFromOpeningToEnded(t *testing.T) {
	t.Parallel()
	reachable := func(from tailPhase) []tailPhase {
		found := []tailPhase{from}
		for i := 0; i < len(found); i++ {
			for to := range tailPhase(len(tailPhaseNames)) {
				if found[i].leadsTo(to) && !slices.Contains(found, to) {
					found = append(found, to)
				}
			}
		}
		return found
	}
	for p := range tailPhase(len(tailPhaseNames)) {
		if !slices.Contains(reachable(tailOpening), p) {
			t.Errorf("no tail is ever %s", p)
		}
		if !slices.Contains(reachable(p), tailEnded) {
			t.Errorf("a tail that is %s never ends", p)
		}
		if p < tailClosing && !p.leadsTo(tailClosing) {
			t.Errorf("a tail that is %s cannot be left", p)
		}
		if p >= tailClosing && slices.ContainsFunc(reachable(p), func(q tailPhase) bool { return q < tailClosing }) {
			t.Errorf("a tail that is %s comes to life again", p)
		}
	}
}

// newTestTail makes a tail without a server and a goroutine. Its stream is the
// test's to step.
func newTestTail(t *testing.T, now time.Time) (*tailing, *tail) {
	t.Helper()
	_, cancel := context.WithCancel(t.Context())
	memory := newMemory(limits{window: 4, windowBytes: 1 << 20, chain: 4}, OrderByKey)
	search := &tailing{
		config:     TailConfig{Wanted: true, ReconcileInterval: time.Minute, MaxWAL: 1 << 30, Retry: Backoff{time.Second, time.Minute}},
		openStream: func() *stream { return newStream(cancel, 1) },
		intake: &intake{
			memory: memory,
			limits: bufferLimits{rows: 16, bytes: 1 << 20},
			quick:  true, messageLimit: func() int64 { return 0 },
			reader: &reader{session: newReadSession(nil, nil), flight: memory.flight},
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

// The diagram in the documentation is the table of edges.
func TestDiagramOfTheDocumentationIsTheTable(t *testing.T) {
	t.Parallel()
	const page = "../../docs/architecture.md"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	want.WriteString("```mermaid\nstateDiagram-v2\n    [*] --> opening: a pass was complete and quick\n")
	for _, e := range tailEdges {
		want.WriteString("    " + e.from.String() + " --> " + e.to.String() + ": " + e.when + "\n")
	}
	want.WriteString("    ended --> [*]\n```\n")
	if !strings.Contains(string(text), want.String()) {
		t.Errorf("%s lacks the phases of a tail as they are. Put this there:\n%s", page, want.String())
	}
}
