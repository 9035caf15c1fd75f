//go:build mutants

package mutants

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// mutant is one rule taken out.
type mutant struct {
	rule  string
	file  string // under the root of the module
	old   string
	new   string
	times int    // that old occurs; 0 for once
	pkg   string // of the test that has to fail
	test  string // go test -run
}

func TestEachRuleHasATestThatFailsWithoutIt(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range slices.Concat(relayMutants, tailMutants, tableMutants, natsMutants, rabbitmqMutants, connectionMutants, sessionMutants, secretMutants, printingMutants, topicsMutants, neighbourMutants, lateTopicMutants, httpMutants) {
		t.Run(m.rule, func(t *testing.T) {
			t.Parallel()
			out, err := m.run(t, root)
			switch {
			case err == nil:
				t.Errorf("%s passes without the rule", m.test)
			case strings.Contains(out, "[build failed]") || strings.Contains(out, "no tests to run"):
				t.Errorf("the mutant does not run:\n%s", out)
			case strings.Contains(out, "panic: test timed out"):
				t.Errorf("the test did not end, which says nothing on a slow machine:\n%s", out)
			default:
				t.Log(out) // whether it fails for the right reason
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
	if n, want := strings.Count(string(source), m.old), max(1, m.times); n != want {
		t.Fatalf("%s has the text of the rule %d times, want %d: move the mutant with the code\n%s", m.file, n, want, m.old)
	}
	mutated := filepath.Join(t.TempDir(), filepath.Base(m.file))
	if err := os.WriteFile(mutated, []byte(strings.ReplaceAll(string(source), m.old, m.new)), 0o600); err != nil {
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
	cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-vet=off", "-timeout=3m", "-run", "^"+m.test+"$", m.pkg)
	cmd.Dir = root
	// For the binaries that the end-to-end tests build, too.
	cmd.Env = append(os.Environ(), "GOFLAGS="+os.Getenv("GOFLAGS")+" -overlay="+overlayFile)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
