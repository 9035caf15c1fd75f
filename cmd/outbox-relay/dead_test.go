package main

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
)

// morgue is a table with dead rows, and the environment of its owner. The broker's part
// of it is wrong.
func morgue(t *testing.T) (p *patient, env []string) {
	t.Helper()
	p = newPatient(t)
	p.sql(`INSERT INTO outbox (topic, key, payload, attempts, dead_at, last_error, error_type)
		SELECT 'orders.' || n % 2, 'k' || n, '{"n": 1}', 10, now() - interval '1 h', 'unroutable: no stream has it', 'unroutable' FROM generate_series(1, 5) AS n`,
		`INSERT INTO outbox (topic, payload) VALUES ('pending', '1')`)
	return p, []string{
		"OUTBOX_DATABASE_URL=" + p.url, "OUTBOX_SINK_URL=kafka://x", "OUTBOX_SINK_ULR=x", "OUTBOX_RETRY_MIN=soon", "OUTBOX_NATS_TOKEN_FILE=/nowhere",
	}
}

func TestDeadWorksWhereTheBrokersPartIsWrong(t *testing.T) {
	t.Parallel()
	p, env := morgue(t)
	list := do(t, env, "dead", "list", "--topic", "orders.1")
	if list.status != 0 || list.stderr != "" || strings.Count(list.stdout, "\n") != 4 || !strings.Contains(list.stdout, "unroutable: no stream has it") {
		t.Errorf("%+v", list)
	}
	if got := do(t, env, "dead", "list", "--limit", "2"); got.status != 0 || strings.Count(got.stdout, "\n") != 3 || !strings.Contains(got.stderr, "there are more dead rows") {
		t.Errorf("%+v", got)
	}
	if got := do(t, env, "dead", "list", "--summary"); got.status != 0 || !strings.Contains(got.stdout, "3     unroutable  orders.1") ||
		!strings.Contains(got.stdout, "2     unroutable  orders.0") {
		t.Errorf("%+v", got)
	}
	if got := do(t, env, "dead", "show", "1"); got.status != 0 || !strings.Contains(got.stdout, "1 (dead)") || !strings.Contains(got.stdout, `{"n": 1}`) {
		t.Errorf("%+v", got)
	}
	if got := do(t, env, "dead", "show", "1", "99"); got.status != 1 || !strings.Contains(got.stderr, "public.outbox has no row 99") {
		t.Errorf("%+v", got)
	}
	dry := do(t, env, "dead", "replay", "--key", "k1", "--dry-run")
	if dry.status != 0 || !strings.Contains(dry.stdout, "1     unroutable  orders.1") || !strings.Contains(dry.stdout, "dry run: 1 row would be replayed") {
		t.Errorf("%+v", dry)
	}
	if n := p.value("SELECT count(*)::text FROM outbox WHERE dead_at IS NOT NULL"); n != "5" {
		t.Errorf("%s rows are dead after a dry run", n)
	}
	if got := do(t, env, "dead", "replay", "--topic", "orders.1", "--yes"); got.status != 0 || !strings.HasSuffix(got.stdout, "replayed 3 rows\n") {
		t.Errorf("%+v", got)
	}
	if got := do(t, env, "dead", "discard", "--all", "--yes"); got.status != 0 || !strings.HasSuffix(got.stdout, "discarded 2 rows\n") {
		t.Errorf("%+v", got)
	}
	for _, args := range []string{"list", "replay --all --yes", "discard --all --yes", "list --summary"} {
		if got := do(t, env, append([]string{"dead"}, strings.Fields(args)...)...); got != (result{stdout: "public.outbox has no dead rows\n"}) {
			t.Errorf("%s: %+v", args, got)
		}
	}
	if got := do(t, env, "dead", "list", "--id", "7"); got != (result{stdout: "public.outbox has no dead rows of that kind\n"}) {
		t.Errorf("%+v", got)
	}
	if n := p.value("SELECT count(*)::text FROM outbox WHERE sent_at IS NULL AND dead_at IS NULL AND attempts = 0"); n != "4" {
		t.Errorf("%s rows are pending, want the three replayed ones and the one that was", n)
	}
}

func TestDeadPrintsJSONWithStableNames(t *testing.T) {
	t.Parallel()
	_, env := morgue(t)
	for _, c := range []struct{ args, names string }{
		{"list", "attempts created_at dead_at error_type first_attempt_at id key last_error message_id topic"},
		{"list --summary", "error_type first_dead_at last_dead_at last_error rows topic"},
		{"show 1", "attempts available_at content_type created_at dead_at dead_letter_at error_type first_attempt_at headers id key " +
			"last_error message_id payload payload_bytes payload_cut sent_at state topic"},
		{"replay --all --dry-run", "action changed dry_run interrupted left matched"},
		{"discard --all --yes", "action changed dry_run interrupted left matched"},
		{"discard --all --yes", "action changed dry_run interrupted left matched"}, // of no rows
	} {
		got := do(t, env, append(strings.Fields("dead "+c.args), "--json")...)
		line, _, _ := strings.Cut(got.stdout, "\n")
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil || got.status != 0 {
			t.Fatalf("%s: %v: %+v", c.args, err, got)
		}
		for name := range strings.FieldsSeq(c.names) {
			if _, ok := object[name]; !ok {
				t.Errorf("%s: no %s in %s", c.args, name, line)
			}
			delete(object, name)
		}
		if len(object) != 0 {
			t.Errorf("%s: names that no test knows: %v", c.args, object)
		}
	}
}

func TestDeadRefusesWhatIsNotMeant(t *testing.T) {
	t.Parallel()
	p, env := morgue(t)
	for _, c := range []struct {
		args, want string
		status     int
	}{
		{"dead", "say what to do: discard, list, replay, show", 2},
		{"dead lits", `there is no command "lits"; there are: discard, list, replay, show`, 2},
		{"dead list --topics x", "unknown flag: --topics; there are: --after, --before, --error, --help, --id, ", 2},
		{"dead list --before yesterday", `expected a time such as 2026-01-31T12:00:00Z, `, 2},
		{"dead list --id 4,x", `expected ids of rows, such as 42 or 42,43: "x" is none`, 2},
		{"dead list --limit -1", "--limit -1: expected 0 or more", 2},
		{"dead list now", `unexpected argument "now"`, 2},
		{"dead show", "say which rows: their ids", 2},
		{"dead show x", `expected ids of rows, such as 42 or 42,43: "x" is none`, 2},
		{"dead replay", "say which dead rows: --id, --topic, --key, --error, --type, --before, --after, or --all", 2},
		{"dead discard --limit 1", "say which dead rows: ", 2},
		{"dead discard --topic= --yes", "--topic is empty: leave it out, or say which", 2},
		{"dead replay --type= --yes", "--type is empty: leave it out, or say which", 2},
		{"dead list --error=", "--error is empty: leave it out, or say which", 2},
		{"dead replay --all --topic x", "--all is for all dead rows: leave it out, or the other filters", 2},
	} {
		got := do(t, env, strings.Fields(c.args)...)
		if got.status != c.status || !strings.Contains(got.stderr, c.want) || got.stdout != "" {
			t.Errorf("%s: %+v, want status %d and %q", c.args, got, c.status, c.want)
		}
	}
	// Its output is a pipe here, and its input is not a terminal.
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer out.Close()
	root := newRoot(env)
	root.SetIn(in)
	var stdout, stderr strings.Builder
	root.SetArgs([]string{"dead", "replay", "--all"})
	root.SetOut(&stdout)
	root.SetErr(&stderr)
	if err := root.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), "nobody can be asked whether to replay 5 dead rows of public.outbox: give --yes") {
		t.Errorf("%v", err)
	}
	if n := p.value("SELECT count(*)::text FROM outbox WHERE dead_at IS NOT NULL"); n != "5" {
		t.Errorf("%s rows are dead", n)
	}
	p.sql("REVOKE DELETE ON outbox FROM " + p.role)
	got := do(t, p.environ(), "dead", "discard", "--all", "--yes") // the relay's role
	if got.status != 1 || !strings.Contains(got.stderr, `GRANT DELETE ON "public"."outbox" TO`) {
		t.Errorf("%+v", got)
	}
	if got := do(t, append(env, "OUTBOX_TABEL=other"), "dead", "list"); got.status != 2 || !strings.Contains(got.stderr, "did you mean OUTBOX_TABLE?") {
		t.Errorf("a misspelled name of the table: %+v", got)
	}
}

// Rows are written by whoever may insert.
func TestDeadPrintsRowsHarmless(t *testing.T) {
	t.Parallel()
	p, env := morgue(t)
	conn := pgtest.Connect(t, p.url)
	evil := "a\x1b]0;x\x07\nb\u202e\x9b"
	if _, err := conn.Exec(t.Context(), `UPDATE outbox SET topic = $1, key = $1, last_error = $1, content_type = $1, error_type = $1, payload = to_json($1::text)
		WHERE dead_at IS NOT NULL`, strings.ToValidUTF8(evil, "")); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{"list", "list --summary", "show 1", "replay --all --dry-run"} {
		got := do(t, env, append([]string{"dead"}, strings.Fields(args)...)...)
		if got.status != 0 || strings.ContainsFunc(got.stdout, func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' }) {
			t.Errorf("%s: %q", args, got.stdout)
		}
	}
}

// A batch is changed whole or not at all, and what is counted has been changed.
func TestInterruptedReplayCountsWhatItChangedAndGoesOnLater(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.sql(`INSERT INTO outbox (topic, payload, dead_at) SELECT 't', '1', now() FROM generate_series(1, 3500)`)
	env := []string{"OUTBOX_DATABASE_URL=" + p.url}
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var stderr strings.Builder
	stdout := &onWrite{when: "ROWS", do: interrupt} // after the counting
	status := dispatch(ctx, env, []string{"dead", "replay", "--all", "--yes"}, stdout, &stderr)
	if status != 1 || !strings.Contains(stdout.String(), "replayed 0 rows") || !strings.Contains(stderr.String(), "run it again to go on") {
		t.Errorf("status %d, %s%s", status, stdout.String(), stderr.String())
	}
	if got := do(t, env, "dead", "replay", "--all", "--limit", "1200", "--yes"); got.status != 0 || !strings.HasSuffix(got.stdout, "replayed 1200 rows\n") {
		t.Errorf("%+v", got)
	}
	if got := do(t, env, "dead", "replay", "--all", "--yes"); got.status != 0 || !strings.HasSuffix(got.stdout, "replayed 2300 rows\n") {
		t.Errorf("%+v", got)
	}
}

// What dies after the question was asked is left alone, also where --before says a time to
// come.
func TestReplayLeavesAloneWhatDiesAfterTheQuestion(t *testing.T) {
	t.Parallel()
	for _, filter := range [][]string{{"--all"}, {"--before", "2099-01-01"}} {
		p := newPatient(t)
		p.sql(`INSERT INTO outbox (topic, payload, dead_at) VALUES ('t', '1', now())`)
		var stderr strings.Builder
		stdout := &onWrite{when: "ROWS", do: func() { p.sql(`INSERT INTO outbox (topic, payload, dead_at) VALUES ('t', '2', now())`) }}
		status := dispatch(t.Context(), []string{"OUTBOX_DATABASE_URL=" + p.url}, append([]string{"dead", "replay", "--yes"}, filter...), stdout, &stderr)
		if status != 0 || !strings.Contains(stdout.String(), "replayed 1 row\n") {
			t.Errorf("%v: status %d, %s%s", filter, status, stdout.String(), stderr.String())
		}
	}
}

// onWrite does something when a text is written.
type onWrite struct {
	strings.Builder
	when string
	do   func()
}

func (o *onWrite) Write(b []byte) (int, error) {
	if strings.Contains(string(b), o.when) {
		o.do()
	}
	return o.Builder.Write(b)
}

func TestTimesOfFiltersAreRead(t *testing.T) {
	noon := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"2026-01-31T12:00:00Z": noon, "2026-01-31T13:00:00+01:00": noon, "2026-01-31 12:00": noon, "2026-01-31 12:00:00": noon,
		"2026-01-31": noon.Add(-12 * time.Hour), "2026-01-31 12:00:00Z": noon,
	} {
		var p pointInTime
		if err := p.Set(text); err != nil || !p.Equal(want) {
			t.Errorf("%s: %v, %v", text, p.Time, err)
		}
	}
	var p pointInTime
	if err := p.Set("2h"); err != nil || time.Since(p.Time) < 2*time.Hour {
		t.Errorf("%v, %v", p.Time, err)
	}
	if err := p.Set("-2h"); err == nil {
		t.Error("a time to come was taken for one that is over")
	}
}
