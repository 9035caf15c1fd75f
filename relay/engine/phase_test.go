package engine

import (
	"os"
	"slices"
	"strings"
	"testing"
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
