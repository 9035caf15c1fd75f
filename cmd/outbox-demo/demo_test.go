package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
)

// The whole demonstration in a smaller size, with the relay built as released.
func TestDemonstrationKeepsItsPromises(t *testing.T) {
	var stdout, stderr bytes.Buffer
	status := run(t.Context(), []string{"-clicks", "2000"}, &stdout, &stderr)
	lines := strings.Split(strings.TrimSpace(stdout.String()), "\n")
	want := regexp.MustCompile(
		`^demo: written=2000 rolled_back=\d+ consumed=2000 marked=2000 redelivered=[1-9]\d* duplicates=0 lost=0 order_violations=0$`)
	if last := lines[len(lines)-1]; status != 0 || !want.MatchString(last) {
		t.Errorf("status %d, last line %q\n%s\n%s", status, last, stdout.String(), stderr.String())
	}
	for _, step := range []string{"relay killed with SIGKILL", "relay started again", "broker stopped for 2 s", "broker is back"} {
		if !strings.Contains(stdout.String(), step) {
			t.Errorf("output does not tell %q:\n%s", step, stdout.String())
		}
	}
}
