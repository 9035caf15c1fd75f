package postgres_test

import (
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

func (f *fixture) stats() relay.TableStats {
	f.t.Helper()
	s, err := f.database().Stats(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

func TestStatsTellTheKindsApart(t *testing.T) {
	f := setup(t, shape{})
	if got := f.stats(); got != (relay.TableStats{}) {
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
	want := relay.TableStats{
		Due: relay.Count{Rows: 3}, Scheduled: relay.Count{Rows: 3}, Retrying: relay.Count{Rows: 2}, Dead: relay.Count{Rows: 1},
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
		SELECT 'x', '1', CASE WHEN i % 2 = 1 THEN now() + interval '1 h' END, 0, CASE WHEN i % 2 = 0 THEN now() END
		FROM generate_series(1, 2 * 20001) AS i`)
	got := f.stats()
	full := relay.Count{Rows: 20_000, More: true}
	if got.Scheduled != full || got.Dead != full || got.Due != (relay.Count{}) || got.Retrying != (relay.Count{}) {
		t.Errorf("%+v", got)
	}
	if s := full.String(); s != "20000+" {
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

// A tenth of the ids, in runs of ten thousand, are pending: the kind of a table that is
// drained in part. Some of those wait for a retry. Few of the sample's parts are pending in
// part, so that chance moves the estimate by some percent only.
func TestManyRowsAreEstimated(t *testing.T) {
	f := setup(t, shape{})
	f.exec(`INSERT INTO {t} (topic, payload, sent_at, attempts, available_at)
		SELECT 'x', '1', CASE WHEN i / 10000 % 10 > 0 THEN now() END, CASE WHEN i % 4 = 0 THEN 1 ELSE 0 END,
			CASE WHEN i % 4 = 0 THEN now() + interval '1 h' END
		FROM generate_series(0, 399999) AS i`)
	near := func(what string, got relay.Count, want int64) {
		if !got.Estimated || got.Rows < want*2/3 || got.Rows > want*3/2 {
			t.Errorf("%s: %s, of %d", what, got, want)
		}
	}
	got := f.stats()
	near("due", got.Due, 30_000)
	near("retrying", got.Retrying, 10_000)
	// A plain backlog is dense. The estimate is good to some percent.
	f.exec(`UPDATE {t} SET sent_at = NULL, attempts = 0, available_at = NULL`)
	if got := f.stats().Due; !got.Estimated || got.Rows < 380_000 || got.Rows > 420_000 {
		t.Errorf("%s of 400000 rows", got)
	}
}

// An infinite time has no age, and does not keep the others from being counted.
func TestRowsOfInfiniteTimesAreCounted(t *testing.T) {
	f := setup(t, shape{})
	f.exec(`INSERT INTO {t} (topic, payload, created_at) VALUES ('t', '1', '-infinity'), ('t', '1', 'infinity'), ('t', '1', now() - interval '90 s')`)
	if got := f.stats(); got.Due.Rows != 3 || got.OldestAge < 90*time.Second || got.OldestAge > time.Hour {
		t.Errorf("%+v", got)
	}
}

func TestStatsOfATableThatIsNotThereNameTheFix(t *testing.T) {
	f := setup(t, shape{})
	f.exec("DROP TABLE {t}")
	if _, err := f.database().Stats(t.Context()); err == nil || !strings.Contains(err.Error(), "run outbox-relay migrate") {
		t.Errorf("error %v", err)
	}
}
