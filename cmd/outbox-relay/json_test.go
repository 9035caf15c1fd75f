package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/relay"
)

// noResult are the commands that print no result: a log, a script, a text.
var noResult = []string{"outbox-relay", "outbox-relay run", "outbox-relay schema", "outbox-relay dead", "outbox-relay completion", "outbox-relay help"}

func TestEveryCommandThatPrintsAResultHasJSON(t *testing.T) {
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if has := c.Flags().Lookup("json") != nil; has == slices.Contains(noResult, c.CommandPath()) {
			t.Errorf("%s: has --json: %v", c.CommandPath(), has)
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRoot(nil))
}

// names are the keys of what a command printed, in their order.
func names(t *testing.T, text string) string {
	t.Helper()
	var object map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &object); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	var list []string
	for name := range object {
		list = append(list, name)
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// Scripts read these. Those of doctor, status and the dead commands have tests of their own.
func TestNamesOfJSONAreStable(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	up := saying(t, relay.Status{Mode: relay.Polling, Turned: time.Now()})
	for _, c := range []struct {
		command string
		status  int
		names   string
	}{
		{"version --json", 0, "arch go os version"},
		{"health --json", 0, "ok why"},
		{"migrate --json", 0, "changes table warnings"},
		{"migrate --json", 0, "changes table warnings"}, // nothing to do
		{"adopt --json", 0, "adopted here noted table"},
		{"pause --json", 0, "pause_reason paused paused_by paused_since table"},
		{"resume --json", 0, "pause_reason paused paused_by paused_since table"},
		{"status --json", 0, "database relay"},
		{"status --max-dead 0 --json", 0, "database state why"},
	} {
		got := do(t, []string{"OUTBOX_DATABASE_URL=" + url, up}, strings.Fields(c.command)...)
		if has := names(t, got.stdout); got.status != c.status || got.stderr != "" || has != c.names {
			t.Errorf("%s: %+v, want status %d and %s", c.command, got, c.status, c.names)
		}
		if strings.Contains(got.stdout, "null") && c.command == "migrate --json" {
			t.Errorf("%s: an empty list is printed as null: %s", c.command, got.stdout)
		}
	}
	got := do(t, []string{nowhere(t)}, "health", "--json")
	if names(t, got.stdout) != "ok why" || got.status != 1 || got.stderr != "" || !strings.Contains(got.stdout, `"ok": false`) {
		t.Errorf("health of nobody: %+v", got)
	}
}
