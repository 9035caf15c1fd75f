//go:build mutants

package mutants

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mutant is one rule taken out.
type mutant struct {
	rule string
	file string // under the root of the module
	old  string // occurs exactly once
	new  string
	pkg  string // of the test that has to fail
	test string // go test -run
}

var mutants = []mutant{
	{
		rule: "1: a pass is bounded by the largest id of its first snapshot",
		file: "relay/intake.go",
		old:  "in.pass = res.pass\n",
		new:  "in.pass = res.pass\n\t\tin.pass.Bound = math.MaxInt64\n",
		pkg:  "./relay", test: "TestLowIDThatCommitsBetweenChunksIsNotOvertaken",
	},
	{
		rule: "1: a cursor does not outlive its pass",
		file: "relay/intake.go",
		old:  "in.cursor, in.held, in.nextSize = math.MinInt64, 0, 0",
		new:  "in.cursor, in.held, in.nextSize = max(in.cursor, math.MinInt64), 0, 0",
		pkg:  "./relay", test: "TestRowWithALowIDThatCommitsLateIsFound",
	},
	{
		rule: "2: a row in flight is not taken twice",
		file: "relay/intake.go",
		old:  "case in.flight.has(m.Ref):\n\t\treturn false\n",
		new:  "",
		pkg:  "./relay", test: "TestRowInFlightIsNotPublishedAgain",
	},
	{
		rule: "2: a row lingers until the running sweep has passed it",
		file: "relay/inflight.go",
		old:  "return f.sweeping && r.ID > f.cursor && r.ID <= f.bound",
		new:  "return false",
		pkg:  "./relay", test: "TestRowMarkedDuringASweepIsNotPublishedTwice",
	},
	{
		rule: "2: a row is known by its message id too",
		file: "relay/inflight.go",
		old:  "_, ok := f.rows[r]\n\treturn ok",
		new:  "for known := range f.rows {\n\t\tif known.ID == r.ID {\n\t\t\treturn true\n\t\t}\n\t}\n\treturn false",
		pkg:  "./relay", test: "TestTruncateRestartIdentityWithRowsInFlight",
	},
	{
		rule: "2: a row counts against the window until its outcome is committed",
		file: "relay/outcomes.go",
		old:  "t.dispatcher.release(m)\n",
		new:  "t.dispatcher.release(m)\n\tt.dispatcher.outstanding.rows--\n",
		pkg:  "./relay", test: "TestWindowStaysClosedWhileNothingCanBeMarked",
	},
	{
		rule: "5: a refused row holds its key",
		file: "relay/outcomes.go",
		old:  "t.holds.refuse(m.Key)",
		new:  "t.holds.drop(m.Key).released, t.holds.keys[m.Key].writing = true, 1",
		pkg:  "./relay", test: "TestHeadRefusedWhileASweepRunsKeepsItsKeyWaiting",
	},
	{
		rule: "5: a head that waits for its retry renews the hold",
		file: "relay/intake.go",
		old:  "case row.Wait > 0:\n\t\tif ordered {",
		new:  "case row.Wait > 0:\n\t\tif false {",
		pkg:  "./relay", test: "TestWaitingHeadHoldsItsKeyAfterARestart",
	},
	{
		rule: "5: a chain longer than its cap turns into a hold",
		file: "relay/intake.go",
		old:  "case !in.dispatcher.add(m):\n\t\tin.hold(m.Key)",
		new:  "case !in.dispatcher.add(m):",
		pkg:  "./relay", test: "TestChainLongerThanItsCapKeepsItsOrder",
	},
	{
		rule: "5: the window is given back when the sink is down",
		file: "relay/breaker.go",
		old:  "\tt.giveBack()\n",
		new:  "",
		pkg:  "./relay", test: "TestSinkThatStallsGivesTheWindowBack",
	},
	{
		rule: "9: one unacknowledged row of a key",
		file: "relay/dispatcher.go",
		old:  "func (d *dispatcher) ordered(m *Message) bool { return m.Keyed && d.ordering == OrderByKey }",
		new:  "func (d *dispatcher) ordered(m *Message) bool { return false }",
		pkg:  "./relay", test: "TestDispatcherAgreesWithModel",
	},
	{
		rule: "11: a row that is gone settles its mark",
		file: "relay/postgres/write.go",
		old:  "gone = append(gone, ref)",
		new:  "_ = ref",
		pkg:  "./relay", test: "TestHeadDeletedByTheApplicationStopsNothing",
	},
	{
		rule: "2: a mark names the message id too",
		file: "relay/postgres/write.go",
		old:  "const matching = `o.id = m.id AND o.message_id = m.message_id`",
		new:  "const matching = `o.id = m.id AND m.message_id IS NOT NULL`",
		pkg:  "./relay", test: "TestTruncateRestartIdentityWithRowsInFlight",
	},
	{
		rule: "12: a failed control session ends the term",
		file: "relay/marker.go",
		old:  "if err != nil && ctx.Err() == nil {\n\t\t\treturn err",
		new:  "if err != nil && ctx.Err() == nil {\n\t\t\tcontinue",
		pkg:  "./relay", test: "TestControlSessionTerminatedLosesNothing",
	},
	{
		rule: "15: what is in flight at SIGTERM is awaited and marked",
		file: "relay/term.go",
		old:  "if t.stopping && t.dispatcher.outstanding.rows == 0 {",
		new:  "if t.stopping {",
		pkg:  "./relay", test: "TestStopAwaitsWhatIsInFlight",
	},
	{
		rule: "section 5: an outage counts no attempt",
		file: "relay/outcomes.go",
		old:  "if alone {\n\t\t\tt.refuse(m, o)",
		new:  "if alone || true {\n\t\t\tt.refuse(m, o)",
		pkg:  "./relay", test: "TestSinkThatStallsGivesTheWindowBack",
	},
}

func TestEachRuleHasATestThatFailsWithoutIt(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutants {
		t.Run(m.rule, func(t *testing.T) {
			out, err := m.run(t, root)
			switch {
			case err == nil:
				t.Errorf("%s passes without the rule", m.test)
			case strings.Contains(out, "[build failed]") || strings.Contains(out, "no tests to run"):
				t.Errorf("the mutant does not run:\n%s", out)
			}
		})
	}
}

// run runs the mutant's test with the rule taken out.
func (m mutant) run(t *testing.T, root string) (string, error) {
	t.Helper()
	path := filepath.Join(root, m.file)
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), m.old); n != 1 {
		t.Fatalf("%s has the text of the rule %d times, want once: move the mutant with the code\n%s", m.file, n, m.old)
	}
	mutated := filepath.Join(t.TempDir(), filepath.Base(m.file))
	if err := os.WriteFile(mutated, []byte(strings.Replace(string(source), m.old, m.new, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {path: mutated}})
	if err != nil {
		t.Fatal(err)
	}
	overlayFile := filepath.Join(t.TempDir(), "overlay.json")
	if err := os.WriteFile(overlayFile, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-overlay", overlayFile, "-run", "^"+m.test+"$", m.pkg)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	return string(out), err
}
