package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/relay"
)

// relays runs a relay in the patient's surroundings until the test ends, and has
// doctor ask it.
func (p *patient) relays() {
	p.t.Helper()
	c, err := config.Load(p.environ("OUTBOX_HTTP_ADDR=127.0.0.1:0", "OUTBOX_TOPOLOGY=create"))
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(p.t.Context()))
	started := make(startingLog, 1)
	ended := make(chan error, 1)
	go func() { ended <- relayRows(ctx, c, supervisor{}, slog.New(slog.NewJSONHandler(started, nil))) }()
	p.t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			p.t.Errorf("the relay ended: %v", err)
		}
	})
	select {
	case address := <-started:
		p.env["OUTBOX_HTTP_ADDR"] = address
	case err := <-ended:
		ended <- err
		p.t.Fatal(err)
	}
}

// startingLog is a log that tells the address in its line "starting".
type startingLog chan string

func (l startingLog) Write(line []byte) (int, error) {
	var record struct{ Msg, HTTP string }
	if err := json.Unmarshal(line, &record); err == nil && record.Msg == "starting" {
		l <- record.HTTP
	}
	return len(line), nil
}

// What the table does not show, doctor asks the relay for: a row that a constraint
// does not let it mark, and rows that somebody has locked. Each fix heals.
func TestDoctorAsksTheRelayForRowsThatCannotBeMarked(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.sql("INSERT INTO outbox (topic, payload, key) VALUES ('orders', '1', 'short'), ('orders', '2', 'a key that is too long'), ('orders', '3', 'locked')",
		"ALTER TABLE outbox ADD CONSTRAINT short_key CHECK (length(key) < 10) NOT VALID")
	app := pgtest.Connect(t, p.url+"&application_name=report")
	if _, err := app.Exec(t.Context(), "BEGIN; SELECT FROM outbox WHERE key = 'locked' FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	p.relays()
	for name, words := range map[string][]string{
		checkUnmarkable: {"row 2 (published, ", "short_key"},
		checkLocked:     {"1 published row waits for its mark for ", fmt.Sprintf(`pid %d ("report")`, app.PgConn().PID())},
	} {
		c := p.awaits(name, relay.Warning, words...)
		for _, line := range c.Fix {
			p.follow(line)
		}
		p.awaits(name, relay.Fine)
	}
	p.suffers(checkProgress, relay.Fine)
}

func TestDoctorTellsWhatTheRelaySays(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.suffers(checkRelay, relay.Fine, "none was reached", "connection refused")
	now := time.Now()
	leading := func(change func(*relay.Status)) relay.Status {
		s := relay.Status{Mode: relay.Tailing, Since: now, Turned: now}
		change(&s)
		return s
	}
	blockers := []relay.Blocker{{PID: 4711, Application: "report"}, {Prepared: "it's"}}
	const released = "SELECT pg_terminate_backend(4711);  -- as that role or a superuser\nROLLBACK PREPARED 'it''s';  -- or COMMIT PREPARED"
	for _, c := range []struct {
		check    string
		severity relay.Severity
		status   relay.Status
		found    []string
		fix      string
	}{
		{checkRelay, relay.Fine, relay.Status{Mode: relay.StandingBy, Since: now, Turned: now}, []string{"standby for "}, ""},
		{
			checkRelay, relay.Warning,
			relay.Status{Mode: relay.Connecting, Since: now, Turned: now, Reason: "refused"},
			[]string{"not ready: no session with the database", "refused"},
			"",
		},
		{checkProgress, relay.Fine, leading(func(*relay.Status) {}), nil, ""},
		{
			checkProgress, relay.Fault, leading(func(s *relay.Status) { s.Stalled, s.StalledSince = "no marks", now.Add(-time.Minute) }),
			[]string{"none for 1m", "no marks"},
			"",
		},
		{
			checkProgress, relay.Fault, leading(func(s *relay.Status) { s.SinkDown, s.SinkDownSince = "no broker", now }),
			[]string{"the broker takes no messages", "no broker"},
			"",
		},
		{
			checkProgress, relay.Fault, leading(func(s *relay.Status) { s.TableDown, s.TableDownSince = "disk full", now }),
			[]string{"no row can be marked", "disk full"},
			"",
		},
		{
			checkProgress, relay.Fault, leading(func(s *relay.Status) { s.TableDown, s.TableDownSince, s.LockedBy = "locked", now, blockers }),
			[]string{"locked by pid 4711", `prepared transaction "it's"`},
			released,
		},
		{
			checkLocked, relay.Warning, leading(func(s *relay.Status) { s.Locked, s.LockedSince, s.LockedBy = 5000, now, blockers }),
			[]string{"5000 published rows", "wait for their mark for ", "pid 4711"},
			released,
		},
		{checkLocked, relay.Warning, leading(func(s *relay.Status) { s.Locked, s.LockedSince = 5, now }), []string{"not known yet"}, ""},
		// A refused row was not published: nobody is told to delete it.
		{
			checkUnmarkable, relay.Warning, leading(func(s *relay.Status) {
				s.Unmarkable = 3
				s.UnmarkableRows = []relay.UnmarkableRow{
					{Ref: relay.Ref{ID: 7}, Since: now, Tries: 2, Error: "violates\nshort_key"}, {Ref: relay.Ref{ID: 8}, Refused: true, Since: now},
				}
			}),
			[]string{"row 7 (published, ", "s ago, tried 2 times: violates short_key)", "row 8 (refused by the broker", "and 1 more"},
			`DELETE FROM "public"."outbox" WHERE id = 7 AND message_id = '00000000-0000-0000-0000-000000000000';  -- it was published; or make the table take its mark, and keep it`,
		},
	} {
		_, p.env["OUTBOX_HTTP_ADDR"], _ = strings.Cut(saying(t, c.status), "=")
		got := p.find(p.doctor(), c.check)
		if fix := strings.Join(got.Fix, "\n"); got.Severity != c.severity.String() || fix != c.fix {
			t.Errorf("%+v: want %s with the fix %q", got, c.severity, c.fix)
		}
		for _, words := range c.found {
			if !strings.Contains(got.Found, words) {
				t.Errorf("%q does not contain %q", got.Found, words)
			}
		}
	}

	// A relay of another database, or table, knows nothing of this one.
	for _, place := range []relay.Place{{Database: "elsewhere"}, {System: "4711"}} {
		_, p.env["OUTBOX_HTTP_ADDR"], _ = strings.Cut(saying(t, leading(func(s *relay.Status) { s.Place = place })), "=")
		p.suffers(checkRelay, relay.Warning, place.Database+place.System)
	}
	p.env["OUTBOX_ENVIRONMENT"] = "test"
	p.suffers(checkRelay, relay.Warning, `works in environment "", and this is "test"`)
	delete(p.env, "OUTBOX_ENVIRONMENT")
	p.env["OUTBOX_TABLE"] = "other"
	p.suffers(checkRelay, relay.Warning, "works on table public.outbox")
}
