package postgres_test

import (
	"errors"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

// purging opens a purger beside a leader. The role may delete.
func (f *fixture) purging(r postgres.Retention) relay.Purger {
	f.t.Helper()
	f.exec(`GRANT DELETE ON {t} TO ` + f.role())
	f.options.Retention = r
	leader, _ := f.lead()
	p := insist(f.t, func() (relay.Purger, error) { return f.database().OpenPurger(f.t.Context(), leader) })
	f.t.Cleanup(p.Close)
	return p
}

func (f *fixture) purge(p relay.Purger, run relay.PurgeRun) relay.Purged {
	f.t.Helper()
	done, err := p.Purge(f.t.Context(), run)
	if err != nil {
		f.t.Fatal(err)
	}
	return done
}

var dayOld = postgres.Retention{Age: 24 * time.Hour}

func TestOnlyOldSentRowsArePurged(t *testing.T) {
	f := setup(t, shape{})
	f.exec(`INSERT INTO {t} (topic, payload, created_at, available_at, attempts, sent_at, dead_at) VALUES
		('old', '1', now() - interval '3 days', NULL, 0, now() - interval '2 days', NULL),
		('dead', '1', now() - interval '3 days', NULL, 9, NULL, now() - interval '2 days'),
		('due', '1', now() - interval '3 days', NULL, 0, NULL, NULL),
		('retrying', '1', now() - interval '3 days', now() + interval '1 h', 2, NULL, NULL),
		('scheduled', '1', now() - interval '3 days', now() + interval '1 day', 0, NULL, NULL),
		('sent late', '1', now() - interval '3 days', NULL, 0, now() - interval '1 hour', NULL),
		('old too', '1', now() - interval '3 days', NULL, 3, now() - interval '25 hours', NULL),
		('young', '1', now(), NULL, 0, now(), NULL)`)
	p := f.purging(dayOld)
	done := f.purge(p, relay.PurgeRun{From: math.MinInt64, Rows: 100, Age: dayOld.Age})
	if want := (relay.Purged{Rows: 2, Next: 9, Left: 2, Done: true}); done != want {
		t.Errorf("got %+v, want %+v", done, want)
	}
	if n := f.count("topic LIKE 'old%'"); n != 0 || f.count("true") != 6 {
		t.Errorf("%d old rows stay, of %d", n, f.count("true"))
	}
}

func TestAStepOfThePurgeIsBounded(t *testing.T) {
	f := setup(t, shape{})
	f.exec(`INSERT INTO {t} (topic, payload, created_at, sent_at) SELECT 't', '1', now() - interval '3 days', now() - interval '2 days' FROM generate_series(1, 250)`)
	p := f.purging(dayOld)
	run := relay.PurgeRun{From: math.MinInt64, Rows: 100, Age: dayOld.Age}
	for _, want := range []relay.Purged{
		{Rows: 100, Next: 101, Left: 101}, {Rows: 100, Next: 201, Left: 201}, {Rows: 50, Next: 251, Left: 251, Done: true},
	} {
		done := f.purge(p, run)
		if done != want {
			t.Errorf("got %+v, want %+v", done, want)
		}
		run.From = done.Next
	}
	if done := f.purge(p, run); done != (relay.Purged{Next: 251, Left: 251, Done: true}) {
		t.Errorf("of an empty table: %+v", done)
	}
	// A step that begins among young rows ends the round: later rows are younger.
	f.exec(`INSERT INTO {t} (topic, payload, sent_at) SELECT 't', '1', now() FROM generate_series(1, 250)`)
	if done := f.purge(p, run); !done.Done || done.Rows != 0 {
		t.Errorf("among young rows: %+v", done)
	}
}

func TestPurgeLeavesLockedRowsAndADumpInPeace(t *testing.T) {
	f := setup(t, shape{})
	f.exec(`INSERT INTO {t} (topic, payload, created_at, sent_at) SELECT 't', '1', now() - interval '3 days', now() - interval '2 days' FROM generate_series(1, 10)`)
	p := f.purging(dayOld)
	for _, sql := range []string{`BEGIN ISOLATION LEVEL REPEATABLE READ`, `LOCK TABLE {t} IN ACCESS SHARE MODE`, `SELECT FROM {t} WHERE id = 3 FOR UPDATE`} {
		f.exec(sql) // as pg_dump does, and somebody who has a row locked
	}
	done := f.purge(p, relay.PurgeRun{From: math.MinInt64, Rows: 100, Age: dayOld.Age})
	if done.Rows != 9 || done.Left != 3 {
		t.Errorf("%+v", done)
	}
	f.exec(`COMMIT`)
	if done = f.purge(p, relay.PurgeRun{From: done.Left, Rows: 100, Age: dayOld.Age}); done.Rows != 1 {
		t.Errorf("once the lock has gone: %+v", done)
	}
	// A lock on the table is awaited for a moment, and then left alone.
	f.exec(`BEGIN`)
	f.exec(`LOCK TABLE {t}`)
	if done := f.purge(p, relay.PurgeRun{From: 1, Rows: 100, Age: dayOld.Age}); done.Rows != 0 || !done.Done {
		t.Errorf("behind a lock on the table: %+v", done)
	}
	f.exec(`ROLLBACK`)
}

func TestPurgeSaysWhatKeepsItFromDeleting(t *testing.T) {
	f := setup(t, shape{})
	leader, _ := f.lead()
	f.options.Retention = dayOld
	open := func() error {
		p, err := f.database().OpenPurger(t.Context(), leader)
		if err == nil {
			p.Close()
		}
		return err
	}
	if err := open(); !errors.Is(err, relay.ErrNoPurge) || !strings.Contains(err.Error(), "GRANT DELETE ON ") {
		t.Errorf("without the privilege: %v", err)
	}
	f.exec(`GRANT DELETE ON {t} TO ` + f.role())
	f.exec(`CREATE TABLE invoices (outbox_id bigint REFERENCES {t} ON DELETE CASCADE)`)
	if err := open(); !errors.Is(err, relay.ErrNoPurge) || !strings.Contains(err.Error(), "foreign key of public.invoices") {
		t.Errorf("beside a foreign key: %v", err)
	}
	f.options.Retention.Chosen = true
	if err := open(); err != nil {
		t.Errorf("with an age that a person has chosen: %v", err)
	}
	other := f.connect() // it does not lead
	if _, err := f.database().OpenPurger(t.Context(), other); !errors.Is(err, relay.ErrNotLeader) {
		t.Errorf("beside a session that does not lead: %v", err)
	}
}

func TestRowThatCannotBePurgedIsNamed(t *testing.T) {
	f := setup(t, shape{})
	f.exec(`INSERT INTO {t} (id, topic, payload, created_at, sent_at) SELECT n * 1000, 't', '1', now() - interval '3 days', now() - interval '2 days' FROM generate_series(1, 10) AS n`)
	f.exec(`CREATE TABLE invoices (outbox_id bigint REFERENCES {t})`)
	f.exec(`INSERT INTO invoices VALUES (3000)`)
	p := f.purging(postgres.Retention{Age: dayOld.Age, Chosen: true})
	done, err := p.Purge(t.Context(), relay.PurgeRun{From: 2001, Rows: 1, Age: dayOld.Age})
	if !errors.Is(err, relay.ErrWriteRefused) || done.Left != 3000 || done.Next != 3001 {
		t.Errorf("%+v, %v", done, err)
	}
	if done := f.purge(p, relay.PurgeRun{From: done.Next, Rows: 100, Age: dayOld.Age}); done.Rows != 7 {
		t.Errorf("the session is of no use afterwards: %+v", done)
	}
}

// Whatever the statistics say, a step reads a run of the primary key, and no more.
func TestPlanOfThePurgeDoesNotDependOnStatistics(t *testing.T) {
	for name, s := range map[string]shape{"plain": {}, "partitioned": byYear()} {
		t.Run(name, func(t *testing.T) {
			f := setup(t, s)
			const stores = `relkind = 'r' AND (oid = '{t}'::regclass OR relispartition)`
			f.exec(`DO $$ BEGIN EXECUTE (SELECT string_agg(format('ALTER TABLE %s SET (autovacuum_enabled = off)', oid::regclass), '; ')
				FROM pg_class WHERE ` + stores + `); END $$`)
			p := f.purging(dayOld)
			for _, stats := range []string{
				`SELECT`, `INSERT INTO {t} (topic, payload, created_at, sent_at) SELECT 't', '1', '2024-07-01'::timestamptz + (n % 4) * interval '1 year', now()
					FROM generate_series(1, 3000) AS n`, `ANALYZE {t}`,
				`CREATE INDEX ON {t} (sent_at)`, // the application's own
				`DELETE FROM {t}`, `UPDATE pg_class SET reltuples = 1e7, relpages = 100000 WHERE ` + stores,
				`UPDATE pg_class SET reltuples = 0 WHERE ` + stores, // counted before the rows were committed
			} {
				f.exec(stats)
				plan, err := postgres.ExplainPurge(t.Context(), p)
				if err != nil {
					t.Fatal(err)
				}
				plan = regexp.MustCompile(`\bp[0-9](_pkey)?\b`).ReplaceAllString(plan, `outbox$1`)
				lines := strings.Split(plan, "\n")
				for i, line := range lines {
					if strings.Contains(line, " on outbox") && !strings.Contains(line, "Delete on") &&
						(!strings.Contains(line, "using outbox_pkey") || i+1 == len(lines) || !strings.Contains(lines[i+1], "Index Cond: ")) {
						t.Errorf("after %s:\n%s", stats, plan)
						break
					}
				}
			}
		})
	}
}

// In a partitioned table two rows may have one id: after a restart of the ids, or a
// failover. The purge judges each by itself.
func TestPurgeTellsRowsOfOneIDApart(t *testing.T) {
	for name, s := range map[string]shape{
		"by time": byYear(), "by another column": divided("LIST (tenant)", "FOR VALUES IN (0)", "FOR VALUES IN (1)", "FOR VALUES IN (2)"),
	} {
		t.Run(name, func(t *testing.T) {
			f := setup(t, s)
			f.exec(`INSERT INTO {t} (id, tenant, topic, payload, created_at, sent_at, dead_at) VALUES
				(5, 0, 'old', '1', '2024-05-05', now() - interval '2 days', NULL),
				(5, 1, 'dead', '1', '2025-05-05', NULL, now()),
				(5, 2, 'unsent', '1', '2026-05-05', NULL, NULL)`)
			p := f.purging(dayOld)
			done := f.purge(p, relay.PurgeRun{From: math.MinInt64, Rows: 100, Age: dayOld.Age})
			if done.Rows != 1 || done.Left != 5 || f.count("topic IN ('dead', 'unsent')") != 2 {
				t.Errorf("%+v, and %d of the other two rows are left", done, f.count("topic <> 'old'"))
			}
		})
	}
}

// One row with a time in the future, or none, ends no round.
func TestRowOfTheFutureDoesNotEndThePurge(t *testing.T) {
	f := setup(t, shape{})
	f.exec(`INSERT INTO {t} (topic, payload, created_at, dead_at) VALUES ('dead', '1', 'infinity', now())`)
	f.exec(`INSERT INTO {t} (topic, payload, created_at, sent_at) SELECT 't', '1', now() - interval '3 days', now() - interval '2 days' FROM generate_series(1, 150)`)
	p := f.purging(dayOld)
	if done := f.purge(p, relay.PurgeRun{From: math.MinInt64, Rows: 100, Age: dayOld.Age}); done.Done || done.Rows != 99 {
		t.Errorf("%+v", done)
	}
	if s := f.stats(); s.Dead.Rows != 1 {
		t.Errorf("counted %+v", s)
	}
}
