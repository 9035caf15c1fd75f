package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/admin"
)

// saying serves a relay's own words at an address.
func saying(t *testing.T, st relay.Status) string {
	t.Helper()
	return sayingOf(t, st, relay.Census{})
}

// sayingOf is [saying], of a relay that has counted the table too.
func sayingOf(t *testing.T, st relay.Status, census relay.Census) string {
	t.Helper()
	server, err := admin.Listen(t.Context(), "127.0.0.1:0", admin.Options{
		Status: func() relay.Status { return st }, Census: func() relay.Census { return census }, Version: "v1", Table: "public.outbox", Host: "pod-1", WantedMode: "auto",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeStatus(t.Context(), server, newLogger(&strings.Builder{}, 0, "json")) })
	return "OUTBOX_HTTP_ADDR=" + server.Address()
}

// nowhere is an address at which nobody listens.
func nowhere(t *testing.T) string {
	t.Helper()
	port, err := testbed.ReservePort(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { port.Close() })
	return fmt.Sprintf("OUTBOX_HTTP_ADDR=127.0.0.1:%d", port.Number)
}

func TestHealthIsOneLineAndAStatus(t *testing.T) {
	connecting := saying(t, relay.Status{Mode: relay.Connecting, Since: time.Now(), Turned: time.Now(), Reason: "connection refused"})
	standby := saying(t, relay.Status{Mode: relay.StandingBy, Turned: time.Now()})
	for _, c := range []struct {
		address string
		args    []string
		status  int
		says    string
	}{
		{connecting, nil, 0, "connecting\n"},
		{connecting, []string{"--ready"}, 1, "outbox-relay health: not ok: no session with the database for 0s: connection refused\n"},
		{standby, []string{"--ready"}, 0, "standby\n"},
		{nowhere(t), nil, 1, "connection refused\n"},
		{"OUTBOX_HTTP_ADDR=127.0.0.1:0", nil, 1, "has port 0, which stands for any free port: set it to the address that the relay's log gives\n"},
	} {
		got := do(t, []string{c.address}, append([]string{"health"}, c.args...)...)
		said := got.stdout + got.stderr
		if got.status != c.status || !strings.HasSuffix(said, c.says) || strings.Count(said, "\n") != 1 || (got.stdout == "") != (c.status == 1) {
			t.Errorf("%s %q: %+v, want status %d and %q", c.address, c.args, got, c.status, c.says)
		}
	}
}

func TestStatusSaysWhichOfTheTwoItReached(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.sql(`INSERT INTO outbox (topic, payload, available_at, attempts, dead_at) VALUES
		('due', '1', NULL, 0, NULL), ('due', '1', NULL, 0, NULL), ('scheduled', '1', now() + interval '1 h', 0, NULL),
		('retrying', '1', now() + interval '1 h', 2, NULL), ('dead', '1', NULL, 9, now())`)
	relayUp := saying(t, relay.Status{
		Mode:        relay.Polling,
		Since:       time.Now(),
		Turned:      time.Now(),
		Reason:      `wal_level is "replica"`,
		Counters:    relay.Counters{Published: 1234},
		StallStatus: relay.StallStatus{Stalled: "no row can be marked", StalledSince: time.Now()},
		TableStatus: relay.TableStatus{TableDown: "disk full", TableDownSince: time.Now(), Unmarkable: 12, UnmarkableRows: []relay.UnmarkableRow{{Ref: relay.Ref{ID: 77}, Since: time.Now(), Error: "violates\x1b[2J short_key"}}, Locked: 13, LockedSince: time.Now(), LockedBy: []relay.Blocker{{PID: 99, Application: "report"}}},
		SinkStatus:  relay.SinkStatus{SinkDown: "connection refused", SinkDownSince: time.Now()},
	})
	const databaseDown = "OUTBOX_DATABASE_URL=postgres://relay:s3cret@127.0.0.1:1/x"
	for _, c := range []struct {
		name            string
		env             []string
		relay, database bool
	}{
		{"both", []string{relayUp}, true, true},
		{"relay alone", []string{relayUp, databaseDown}, true, false},
		{"database alone", []string{nowhere(t)}, false, true},
		{"neither", []string{nowhere(t), databaseDown}, false, false},
	} {
		status := 1
		if c.relay && c.database {
			status = 0
		}
		got := do(t, p.environ(c.env...), "status", "--json")
		var o overview
		if err := json.Unmarshal([]byte(got.stdout), &o); err != nil || got.status != status {
			t.Fatalf("%s: %v: %+v", c.name, err, got)
		}
		if o.Relay.Reached != c.relay || o.Database.Reached != c.database || (o.Relay.Error == "") != c.relay || (o.Database.Error == "") != c.database {
			t.Errorf("%s: %s", c.name, got.stdout)
		}
		if c.relay && (o.Relay.Status.Mode != "polling" || o.Relay.Status.PublishedTotal != 1234) {
			t.Errorf("%s: %s", c.name, got.stdout)
		}
		if r := o.Database.Rows; c.database && (r.Pending.Rows != 2 || r.Scheduled.Rows != 1 || r.Retrying.Rows != 1 || r.Dead.Rows != 1 || r.OldestPendingAge <= 0) {
			t.Errorf("%s: %s", c.name, got.stdout)
		}
		text := do(t, p.environ(c.env...), "status")
		for _, w := range []struct {
			shown bool
			text  string
		}{
			{c.relay, `wal_level is "replica"`},
			{c.relay, "1234"},
			{c.relay, "for 0s: no row can be marked"},
			{c.relay, "for 0s: disk full"},
			{c.relay, "row 77 for 0s: violates"},
			{c.relay, "11 more rows"},
			{c.relay, `13 rows for 0s: pid 99 ("report")`},
			{c.relay, "connection refused"},
			{c.database, "  oldest pending"},
			{!c.relay, "  not reached: ask 127.0.0.1:"},
			{!c.database, "  not reached: connect to PostgreSQL: "},
		} {
			if w.shown && !strings.Contains(text.stdout, w.text) {
				t.Errorf("%s: no %q in\n%s", c.name, w.text, text.stdout)
			}
		}
		if text.status != status || strings.Contains(text.stdout+got.stdout, "s3cret") {
			t.Errorf("%s: %+v", c.name, text)
		}
	}
}
