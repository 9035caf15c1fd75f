package main

import (
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/admin"
)

// One line and the status that Nagios wants.
func TestStatusIsACheckOfTheTable(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.sql(`INSERT INTO outbox (topic, payload, created_at, attempts, dead_at) VALUES
		('due', '1', now() - interval '1 h', 0, NULL), ('dead', '1', now(), 9, now()), ('dead', '1', now(), 9, now())`)
	const databaseDown = "OUTBOX_DATABASE_URL=postgres://relay:s3cret@127.0.0.1:1/x"
	for _, c := range []struct {
		args   string
		env    string
		status int
		says   string
	}{
		{"--max-age 2h --max-dead 2", "", 0, "OK: public.outbox: the oldest pending row has been due for 1h0m"},
		{"--max-age 2h --max-dead 2", "", 0, " (--max-age 2h0m0s), 2 dead (--max-dead 2)\n"},
		{"--max-age 30s", "", 2, "CRITICAL: public.outbox: the oldest pending row has been due for 1h0m"},
		{"--max-dead 1", "", 2, "CRITICAL: public.outbox: 2 dead (--max-dead 1)\n"},
		{"--max-age 2h --max-dead 0", "", 2, "2 dead (--max-dead 0)\n"},
		{"--max-age 30s", databaseDown, 3, "UNKNOWN: public.outbox: the rows cannot be counted: connect to PostgreSQL: "},
		{"--max-age 30s --json", "", 2, `"state": "critical"`},
	} {
		// No relay is needed for it.
		got := do(t, p.environ(nowhere(t), c.env), append([]string{"status"}, strings.Fields(c.args)...)...)
		if got.status != c.status || !strings.Contains(got.stdout, c.says) || got.stderr != "" || strings.Contains(got.stdout, "s3cret") {
			t.Errorf("%s: %+v, want status %d and %q", c.args, got, c.status, c.says)
		}
		if !strings.Contains(c.args, "--json") && strings.Count(got.stdout, "\n") != 1 {
			t.Errorf("%s: more than one line: %q", c.args, got.stdout)
		}
	}
	for args, says := range map[string]string{
		"--max-age -1s":           "--max-age -1s: expected 0 or more",
		"--max-dead -1":           "--max-dead -1: expected 0 or more",
		"--watch --max-dead 0":    "[max-dead watch]",
		"--watch --interval 10us": "--interval 10µs: expected at least 100ms",
	} {
		if got := do(t, nil, append([]string{"status"}, strings.Fields(args)...)...); got.status != 2 || !strings.Contains(got.stderr, says) {
			t.Errorf("%s: %+v, want %q", args, got, says)
		}
	}
}

// Counting ends at some number. Whether there are more than a limit beyond it is not known.
func TestLimitBeyondWhatIsCountedIsUnknown(t *testing.T) {
	yes, no := func() bool { return true }, func() bool { return false }
	for _, c := range []struct {
		limit int64
		age   float64
		want  health
	}{
		{limit: 100, want: critical},
		{limit: 30_000, want: unknown},
		{limit: 30_000, age: 1, want: critical},
	} {
		l := rowLimits{dead: c.limit, onDead: yes, onAge: no}
		if c.age > 0 {
			l.onAge = yes
		}
		rows := &rowsView{Dead: admin.Count{Rows: 20_000, More: true}, OldestPendingAge: c.age}
		if got, why := l.compare(databaseView{Rows: rows}); got != c.want {
			t.Errorf("limit %d: %v (%s), want %v", c.limit, got, why, c.want)
		}
	}
}
