package postgres_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

// A relay works on a table of an older version, or with a role whose grants were not
// extended. It says what it leaves out.
func TestRelayWorksOnAnOlderTable(t *testing.T) {
	t.Parallel()
	for name, lacks := range map[string]string{
		"older table": "column error_type, column dead_letter_at, index outbox_dead_key_idx",
		"older role":  "the right to write error_type, the right to write dead_letter_at",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t, shape{})
			var log bytes.Buffer
			f.options.Logger = slog.New(slog.NewTextHandler(&log, nil))
			if name == "older role" {
				f.exec(`REVOKE UPDATE (error_type, dead_letter_at) ON {t} FROM ` + f.role())
			} else {
				f.exec(`ALTER TABLE {t} DROP error_type, DROP dead_letter_at`)
				f.exec(`DROP INDEX outbox_dead_key_idx`)
			}
			f.insert(1)
			c, s := f.lead()
			row := refs(f.readPass(s))[0]
			v := refuse(t, c, never, relay.Refusal{Ref: row, Reason: "full", Type: relay.ErrorTypeFull})
			if len(v) != 1 || f.count(`last_error = 'full'`) != 1 {
				t.Errorf("the refusal is not written: %+v", v)
			}
			if said := log.String(); strings.Count(said, `lacks="`+lacks+`"`) != 1 {
				t.Errorf("the log says %q", said)
			}
			if said := f.stats().Lacks; said != lacks {
				t.Errorf("the status says %q", said)
			}
			checks := f.database().Examine(t.Context(), 1).Checks
			for _, check := range checks {
				if check.Name == "new columns" {
					if check.Severity != relay.Warning || !strings.Contains(check.Found, "error_type, dead_letter_at") || check.Fix == "" {
						t.Errorf("%+v", check)
					}
					return
				}
			}
			t.Errorf("doctor says nothing: %+v", checks)
		})
	}
}

// What a table lacks is looked up every few minutes, and each time while something is wrong.
func TestFixOfTheTableShowsAtOnce(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	census, now := f.database().NewCensus(), time.Now()
	const lacks = "the right to write error_type"
	revoke, grant := `REVOKE UPDATE (error_type) ON {t} FROM `+f.role(), `GRANT UPDATE (error_type) ON {t} TO `+f.role()
	for _, step := range []struct {
		sql   string
		after time.Duration
		lacks string
	}{
		{revoke, 0, lacks},
		{`SELECT`, time.Second, lacks},
		{grant, 2 * time.Second, ""},
		{revoke, 4 * time.Minute, ""},
		{`SELECT`, 6 * time.Minute, lacks},
	} {
		f.exec(step.sql)
		f.insert(1)
		rows := f.stats().Due
		if err := postgres.TakeAt(t.Context(), census, now.Add(step.after)); err != nil {
			t.Fatal(err)
		}
		if c := census.Latest(); c.Lacks != step.lacks || c.Due != rows {
			t.Errorf("%v after %s: the table lacks %q, want %q; %v rows, want %v", step.after, step.sql, c.Lacks, step.lacks, c.Due, rows)
		}
	}
}

// What was fine is not believed after a counting that failed: the table may be another one.
func TestTableIsLookedAtAgainAfterAFailure(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	census, now := f.database().NewCensus(), time.Now()
	if err := postgres.TakeAt(t.Context(), census, now); err != nil || census.Latest().Lacks != "" {
		t.Fatalf("%v, the table lacks %q", err, census.Latest().Lacks)
	}
	f.exec(`ALTER TABLE {t} RENAME TO elsewhere`)
	if err := postgres.TakeAt(t.Context(), census, now.Add(time.Second)); err == nil {
		t.Fatal("a table that is away was counted")
	}
	f.exec(`ALTER TABLE elsewhere RENAME TO outbox`)
	f.exec(`REVOKE UPDATE (error_type) ON {t} FROM ` + f.role())
	if err := postgres.TakeAt(t.Context(), census, now.Add(2*time.Second)); err != nil {
		t.Fatal(err)
	}
	if lacks := census.Latest().Lacks; lacks != "the right to write error_type" {
		t.Errorf("the table lacks %q", lacks)
	}
}
