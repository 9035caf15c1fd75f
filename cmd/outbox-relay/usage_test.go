package main

import (
	"slices"
	"strings"
	"testing"
)

func TestWrongUsageSaysWhatThereIs(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"--jason", "outbox-relay: unknown flag: --jason; there are: --help, --version, and the commands run, "},
		{"docter --json", `there is no command "docter"; there are: run, migrate, `},
		{"help docter", `there is no command "docter"; there are: run, migrate, `},
		{"status --jason", "outbox-relay status: unknown flag: --jason; there are: --help, --interval, --json, --max-age, --max-dead, --timeout, --watch\n\nUsage: outbox-relay status [flags]\n"},
		{"status -jason", "unknown flag: --jason; there are: --help, --interval, --json"},
		{"status -j", "unknown shorthand flag: 'j' in -j; there are: --help, --interval, --json"},
		{"health --timeout soon", `invalid argument "soon" for "--timeout" flag: `},
		{"health --timeout", "flag needs an argument: --timeout"},
		{"completion", "outbox-relay completion: the shell's name is missing; there are: bash, zsh, fish, powershell\n"},
		{"completion tcsh", `there is no completion for "tcsh"; there are: bash, `},
		{"completion bash zsh", `unexpected argument "zsh"`},
		{"run --table x", "unknown flag: --table; there are: --help\n"},
	} {
		got := do(t, nil, strings.Fields(c.args)...)
		if got.status != 2 || got.stdout != "" || !strings.Contains(got.stderr, c.want) {
			t.Errorf("%s: %+v, want status 2 and %q", c.args, got, c.want)
		}
	}
}

func TestEachCommandHasHelp(t *testing.T) {
	for _, name := range commandNames() {
		asked, told := do(t, nil, "help", name), do(t, nil, name, "--help")
		if asked != told || told.status != 0 || told.stderr != "" || !strings.Contains(told.stdout, "outbox-relay ") ||
			!strings.Contains(told.stdout, "--help") {
			t.Errorf("help %s: %+v\n%s --help: %+v", name, asked, name, told)
		}
	}
	if got := do(t, nil, "run", "-h"); !strings.HasPrefix(got.stdout, "Usage: outbox-relay [run]") {
		t.Errorf("run -h: %+v", got)
	}
}

// One dash was enough before the flags were parsed by cobra, and is in Go's own
// programs.
func TestOneDashIsEnoughForAFlag(t *testing.T) {
	one, two := do(t, nil, "schema", "-role=x", "-payload-type", "text"), do(t, nil, "schema", "--role=x", "--payload-type", "text")
	if one != two || one.status != 0 {
		t.Errorf("%+v, want the same as with two dashes: %+v", one.status, two.status)
	}
}

func TestCompletionIsPrintedForEachShell(t *testing.T) {
	for shell, has := range map[string]string{
		"bash": "complete -o default", "zsh": "#compdef outbox-relay", "fish": "complete -c outbox-relay", "powershell": "Register-ArgumentCompleter",
	} {
		if got := do(t, nil, "completion", shell); got.status != 0 || got.stderr != "" || !strings.Contains(got.stdout, has) {
			t.Errorf("%s: status %d, stderr %q, no %q in\n%s", shell, got.status, got.stderr, has, got.stdout)
		}
	}
}

func TestCompletionOffersCommandsFlagsAndValues(t *testing.T) {
	for _, c := range []struct {
		words []string
		want  []string // the words offered; a tab and a description follow
	}{
		{[]string{"he"}, []string{"health", "help"}},
		{[]string{"help", ""}, slices.Sorted(slices.Values(commandNames()))},
		{[]string{"health", "--r"}, []string{"--ready"}},
		{[]string{"migrate", "--payload-type", ""}, []string{"bytea", "json", "jsonb", "text"}},
		{[]string{"migrate", "--role", ""}, nil},
		{[]string{"completion", ""}, []string{"bash", "fish", "powershell", "zsh"}},
		{[]string{"status", ""}, nil},
	} {
		got := do(t, nil, append([]string{"__complete"}, c.words...)...)
		lines := strings.Split(got.stdout, "\n")
		i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, ":") })
		if got.status != 0 || i < 0 || lines[i] != ":4" { // 4: no files
			t.Fatalf("%q: %+v", c.words, got)
		}
		var offered []string
		for _, l := range lines[:i] {
			word, _, _ := strings.Cut(l, "\t")
			offered = append(offered, word)
		}
		slices.Sort(offered)
		if !slices.Equal(offered, c.want) {
			t.Errorf("%q: offered %q, want %q", c.words, offered, c.want)
		}
	}
}
