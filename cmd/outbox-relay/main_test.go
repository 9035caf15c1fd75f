package main

import (
	"io"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
)

// result is what a command did.
type result struct {
	status         int
	stdout, stderr string
}

// do runs the program as a shell would.
func do(t *testing.T, env []string, args ...string) result {
	t.Helper()
	var stdout, stderr strings.Builder
	status := dispatch(t.Context(), env, args, &stdout, &stderr)
	return result{status, stdout.String(), stderr.String()}
}

func TestNoArgumentMeansRun(t *testing.T) {
	for _, args := range [][]string{nil, {"run"}} {
		got := do(t, []string{"OUTBOX_TABLE=x"}, args...)
		if got.status != 2 || got.stdout != "" || !strings.Contains(got.stderr, "OUTBOX_SINK_URL: is required") {
			t.Errorf("%q: %+v, want the faults of a relay's configuration and status 2", args, got)
		}
	}
}

func TestUnknownCommandListsThoseThereAre(t *testing.T) {
	got := do(t, nil, "docter")
	const want = "outbox-relay: there is no command \"docter\"; there are: run, migrate, schema, adopt, pause, resume, doctor, status, send, watch, dead, health, version, completion, help\n"
	if got != (result{status: 2, stderr: want}) {
		t.Errorf("got %+v, want %q", got, want)
	}
}

func TestHelpShowsEveryCommandAndVariable(t *testing.T) {
	for _, arg := range []string{"help", "-h", "-help", "--help"} {
		got := do(t, nil, arg)
		if got.status != 0 || got.stderr != "" {
			t.Fatalf("%s: %+v", arg, got)
		}
		for _, name := range commandNames() {
			if !strings.Contains(got.stdout, "\n  "+name+" ") {
				t.Errorf("%s does not show the command %s:\n%s", arg, name, got.stdout)
			}
		}
		for _, v := range config.Table() {
			if !strings.Contains(got.stdout, "\n  "+v.Name) || !strings.Contains(got.stdout, v.Description) {
				t.Errorf("%s does not show %s:\n%s", arg, v.Name, got.stdout)
			}
		}
	}
}

func TestVersionIsOneLine(t *testing.T) {
	for _, arg := range []string{"version", "--version"} {
		got := do(t, nil, arg)
		if got.status != 0 || !strings.HasPrefix(got.stdout, "outbox-relay ") || strings.Count(got.stdout, "\n") != 1 {
			t.Errorf("%s: %+v", arg, got)
		}
	}
}

func TestCommandsWithoutArgumentsRefuseThem(t *testing.T) {
	for _, name := range []string{"run", "version", "completion", "help", "doctor", "status", "health"} {
		if got := do(t, nil, name, "now"); got.status != 2 || !strings.Contains(got.stderr, `"now"`) || got.stdout != "" {
			t.Errorf("%s now: %+v, want status 2 and the argument's name", name, got)
		}
	}
}

// fullDisk is an output that takes nothing.
type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestOutputThatCannotBePrintedFails(t *testing.T) {
	for command, says := range map[string]string{
		"help": " help", "--help": "", "--version": "", "version": " version", "schema": " schema", "completion bash": " completion",
	} {
		var stderr strings.Builder
		status := dispatch(t.Context(), nil, strings.Fields(command), fullDisk{}, &stderr)
		if want := "outbox-relay" + says + ": print: short write\n"; status != 1 || stderr.String() != want {
			t.Errorf("%s: status %d, stderr %q, want 1 and %q", command, status, stderr.String(), want)
		}
	}
}

func TestVersionTellsWhatTheToolchainRecorded(t *testing.T) {
	commit := []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "false"}}
	modified := []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "true"}}
	for _, c := range []struct {
		module   string
		settings []debug.BuildSetting
		want     string
	}{
		{"v1.2.3", commit, "v1.2.3"},
		{"(devel)", commit, "development at abc"},
		{"(devel)", modified, "development at abc, modified"},
		{"", nil, "development"},
	} {
		info := &debug.BuildInfo{Main: debug.Module{Version: c.module}, Settings: c.settings}
		if got := describeBuild(info); got != c.want {
			t.Errorf("%+v: %q, want %q", info, got, c.want)
		}
	}
}
