package postgres_test

import (
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

func (f *fixture) stats() postgres.Stats {
	f.t.Helper()
	s, err := f.database().Stats(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

func TestStatsTellTheKindsApart(t *testing.T) {
	f := setup(t, shape{})
	if got := f.stats(); got != (postgres.Stats{}) {
		t.Errorf("empty table: %+v", got)
	}
	f.exec(`INSERT INTO {t} (topic, payload, created_at, available_at, attempts, sent_at, dead_at) VALUES
		('due', '1', now() - interval '90 s', NULL, 0, NULL, NULL),
		('due', '1', now() - interval '1 day', now() - interval '100 s', 0, NULL, NULL),
		('scheduled', '1', now() - interval '1 day', now() + interval '1 day', 0, NULL, NULL),
		('scheduled', '1', now(), now() + interval '1 h', 0, NULL, NULL),
		('scheduled', '1', now(), now() + interval '1 h', 0, NULL, NULL),
		('waits for its retry', '1', now() - interval '1 day', now() + interval '1 h', 3, NULL, NULL),
		('its retry has come', '1', now() - interval '1 day', now() - interval '1 s', 1, NULL, NULL),
		('dead', '1', now(), NULL, 9, NULL, now()),
		('sent', '1', now(), NULL, 0, now(), NULL),
		('dead, then acknowledged', '1', now(), NULL, 9, now(), now())`)
	got := f.stats()
	want := postgres.Stats{
		Due: postgres.Count{Rows: 3}, Scheduled: postgres.Count{Rows: 3}, Retrying: postgres.Count{Rows: 2}, Dead: postgres.Count{Rows: 1},
		OldestAge: got.OldestAge,
	}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got.OldestAge < 100*time.Second || got.OldestAge > time.Hour {
		t.Errorf("the oldest is due since %v, want 100 s: the later of created_at and available_at counts", got.OldestAge)
	}
}

func TestStatsEndAtTheirCapAndSaySo(t *testing.T) {
	f := setup(t, shape{})
	f.exec(`INSERT INTO {t} (topic, payload, available_at, attempts, dead_at)
		SELECT 'x', '1', CASE WHEN i % 3 = 1 THEN now() + interval '1 h' END, 0, CASE WHEN i % 3 = 2 THEN now() END
		FROM generate_series(1, 3 * 100001) AS i`)
	got := f.stats()
	full := postgres.Count{Rows: 100_000, More: true}
	if got.Due != full || got.Scheduled != full || got.Dead != full || got.Retrying != (postgres.Count{More: true}) {
		t.Errorf("%+v", got)
	}
	if s := full.String(); s != "100000+" {
		t.Errorf("it reads %q", s)
	}
	// What is never counted is never read: the plan is that of the partial indexes.
	f.exec(`ANALYZE {t}`)
	var plan strings.Builder
	rows, err := f.admin.Query(t.Context(), f.sql(`EXPLAIN SELECT FROM {t} WHERE sent_at IS NULL AND dead_at IS NOT NULL ORDER BY id LIMIT 100001`))
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		plan.WriteString(line + "\n")
	}
	if !strings.Contains(plan.String(), "outbox_dead_idx") {
		t.Errorf("dead rows are counted without their index:\n%s", plan.String())
	}
}

func TestStatsOfATableThatIsNotThereNameTheFix(t *testing.T) {
	f := setup(t, shape{})
	f.exec("DROP TABLE {t}")
	if _, err := f.database().Stats(t.Context()); err == nil || !strings.Contains(err.Error(), "run outbox-relay migrate") {
		t.Errorf("error %v", err)
	}
}
