package postgres_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

func (f *fixture) dead(access relay.DeadAccess) *postgres.DeadLetters {
	f.t.Helper()
	d, err := f.database().OpenDead(f.t.Context(), access)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(d.Close)
	return d
}

// page asks for everything.
func page(filter relay.DeadFilter) relay.DeadPage {
	return relay.DeadPage{Filter: filter, After: relay.BeforeAllIDs, Rows: 1000, Most: 1000}
}

func (f *fixture) listed(d *postgres.DeadLetters, filter relay.DeadFilter) []int64 {
	f.t.Helper()
	rows, _, end, err := d.List(f.t.Context(), page(filter))
	if err != nil || !end {
		f.t.Fatal(end, err)
	}
	list := make([]int64, 0, len(rows))
	for _, r := range rows {
		list = append(list, r.ID)
	}
	return list
}

const insertDead = `INSERT INTO {t} (topic, key, payload, attempts, dead_at, first_attempt_at, available_at, last_error, error_type) VALUES
	('orders.created', 'a', '1', 10, '2026-01-01 12:00Z', '2026-01-01Z', '2026-01-02Z', 'unroutable: No stream takes it', 'unroutable'),
	('orders.deleted', 'b', '1', 10, '2026-01-02 12:00Z', NULL, NULL, 'too_large: 100% over', 'too_large'),
	('orders_created', '', '1', 10, '2026-01-03 12:00Z', NULL, NULL, 'nacked: by an older relay', NULL),
	('o%', NULL, '1', 10, '2026-01-04 12:00Z', NULL, NULL, NULL, NULL),
	('sent', NULL, '1', 10, NULL, NULL, NULL, NULL, NULL),
	('pending', NULL, '1', 0, NULL, NULL, NULL, NULL, NULL);
	UPDATE {t} SET sent_at = now() WHERE topic = 'sent'`

func TestDeadFiltersChoose(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	for sql := range strings.SplitSeq(insertDead, ";") {
		f.exec(sql)
	}
	d := f.dead(relay.ReadDead)
	a, empty := "a", ""
	day := func(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }
	for _, c := range []struct {
		name   string
		filter relay.DeadFilter
		want   []int64
	}{
		{"all", relay.DeadFilter{}, []int64{1, 2, 3, 4}},
		{"topic", relay.DeadFilter{Topic: "orders.created"}, []int64{1}},
		{"an underscore is one", relay.DeadFilter{Topic: "orders_created"}, []int64{3}},
		{"glob", relay.DeadFilter{Topic: "orders.*"}, []int64{1, 2}},
		{"question mark", relay.DeadFilter{Topic: "orders?created"}, []int64{1, 3}},
		{"a percent is one", relay.DeadFilter{Topic: "o%"}, []int64{4}},
		{"key", relay.DeadFilter{Key: &a}, []int64{1}},
		{"empty key", relay.DeadFilter{Key: &empty}, []int64{3}},
		{"error", relay.DeadFilter{Error: "no STREAM"}, []int64{1}},
		{"error with a percent", relay.DeadFilter{Error: "0% o"}, []int64{2}},
		{"type", relay.DeadFilter{Type: "too_large"}, []int64{2}},
		{"type of an older relay", relay.DeadFilter{Type: "nacked"}, []int64{3}},
		{"since", relay.DeadFilter{Since: day(3)}, []int64{3, 4}},
		{"until", relay.DeadFilter{Until: day(3)}, []int64{1, 2}},
		{"both", relay.DeadFilter{Since: day(2), Until: day(3)}, []int64{2}},
		{"ids", relay.DeadFilter{IDs: []int64{4, 1, 4, 5, 6, 99}}, []int64{1, 4}},
		{"ids and topic", relay.DeadFilter{IDs: []int64{4, 1}, Topic: "orders*"}, []int64{1}},
		{"none", relay.DeadFilter{Type: "full"}, []int64{}},
	} {
		if got := f.listed(d, c.filter); !slices.Equal(got, c.want) {
			t.Errorf("%s: rows %v, want %v", c.name, got, c.want)
		}
	}
	rows, err := d.Show(t.Context(), []int64{1, 5})
	if err != nil || len(rows) != 2 || rows[0].ErrorType != "unroutable" || *rows[0].Key != "a" || rows[0].DeadAt != day(1).Add(12*time.Hour) ||
		string(rows[0].Payload) != "1" || rows[0].PayloadBytes != 1 || rows[0].FirstAttemptAt != day(1) || rows[1].SentAt.IsZero() {
		t.Errorf("%+v, %v", rows, err)
	}
}

func TestReplayedRowsAreAsIfNeverTried(t *testing.T) {
	t.Parallel()
	for _, older := range []bool{false, true} {
		f := setup(t, shape{})
		if older {
			f.exec(`ALTER TABLE {t} DROP error_type, DROP dead_letter_at`)
		}
		f.exec(`INSERT INTO {t} (topic, payload, attempts, dead_at, first_attempt_at, available_at)
			SELECT 't' || n % 2, '1', 10, now(), now(), now() + interval '1 h' FROM generate_series(1, 25) AS n`)
		locker, err := f.other().Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := locker.Exec(t.Context(), f.sql(`SELECT FROM {t} WHERE id = 3 FOR UPDATE`)); err != nil {
			t.Fatal(err)
		}
		d := f.dead(relay.ReplayDead)
		p := relay.DeadPage{Filter: relay.DeadFilter{Topic: "t1"}, After: relay.BeforeAllIDs, Rows: 10, Most: 10}
		var matched, changed int64
		for done := (relay.DeadDone{}); !done.End; p.After = done.Cursor {
			if done, err = d.Replay(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			matched, changed = matched+done.Matched, changed+done.Changed
		}
		if matched != 13 || changed != 12 {
			t.Errorf("%d rows matched and %d changed, want 13 and, since one is locked, 12", matched, changed)
		}
		if n := f.count(`dead_at IS NULL AND attempts = 0 AND first_attempt_at IS NULL AND available_at IS NULL AND topic = 't1'`); n != 12 {
			t.Errorf("%d rows are pending", n)
		}
		if n := f.count(`dead_at IS NOT NULL`); n != 13 {
			t.Errorf("%d rows are dead still, want those of the other topic and the locked one", n)
		}
		_ = locker.Rollback(t.Context())
		p.After, p.Rows, p.Most = relay.BeforeAllIDs, 1000, 5
		p.Filter = relay.DeadFilter{}
		if done, err := d.Replay(t.Context(), p); err != nil || done.Changed != 5 || f.count(`dead_at IS NOT NULL`) != 8 {
			t.Errorf("no more than 5: %+v, %v", done, err)
		}
	}
}

func TestDiscardedRowsAreGone(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{after: postgres.Delete})
	f.exec(`INSERT INTO {t} (topic, payload, dead_at) SELECT 't', '1', CASE WHEN n > 5 THEN now() END FROM generate_series(1, 20) AS n`)
	d := f.dead(relay.DiscardDead)
	done, err := d.Discard(t.Context(), page(relay.DeadFilter{IDs: []int64{1, 2, 6, 7}}))
	if err != nil || done.Changed != 2 || !done.End {
		t.Errorf("%+v, %v", done, err)
	}
	if done, err = d.Discard(t.Context(), page(relay.DeadFilter{})); err != nil || done.Changed != 13 || f.count("true") != 5 {
		t.Errorf("%+v, %v; %d rows are left", done, err, f.count("true"))
	}
}

func TestDeadGroupsCountByTopicAndType(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.exec(`INSERT INTO {t} (topic, payload, dead_at, last_error) SELECT 't' || n % 2, '1', now() - n * interval '1 h', 'full: ' || n
		FROM generate_series(1, 25) AS n`)
	d := f.dead(relay.ReadDead)
	groups, cursor, end, err := d.Summarise(t.Context(), relay.DeadPage{After: 5, Rows: 10, Most: 7})
	if err != nil || end || cursor != 15 || len(groups) != 2 {
		t.Fatalf("%+v, %d, %v, %v", groups, cursor, end, err)
	}
	for _, g := range groups {
		if want := map[string]int64{"t0": 4, "t1": 3}[g.Topic]; g.Rows != want || g.ErrorType != "full" || g.Last.Before(g.First) {
			t.Errorf("%+v, want %d rows", g, want)
		}
	}
	if groups, _, end, err := d.Summarise(t.Context(), relay.DeadPage{After: 99, Rows: 10, Most: 10}); err != nil || !end || len(groups) != 0 {
		t.Errorf("%+v, %v, %v", groups, end, err)
	}
}

// A million dead rows that the filter rejects are read page after page.
func TestPageOfDeadRowsIsBoundedWhateverTheFilterRejects(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.exec(`INSERT INTO {t} (topic, payload, dead_at) SELECT 't', '1', now() FROM generate_series(1, 5000) AS n`)
	d := f.dead(relay.ReplayDead)
	p := relay.DeadPage{Filter: relay.DeadFilter{Topic: "none"}, After: relay.BeforeAllIDs, Rows: 100, Most: 100}
	rows, cursor, end, err := d.List(t.Context(), p)
	if err != nil || end || cursor != 100 || len(rows) != 0 {
		t.Errorf("%d rows, cursor %d, %v, %v", len(rows), cursor, end, err)
	}
	if done, err := d.Replay(t.Context(), p); err != nil || done != (relay.DeadDone{Cursor: 100}) {
		t.Errorf("%+v, %v", done, err)
	}
}

func TestDeadCommandsNameTheGrant(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.exec(`REVOKE ALL ON {t} FROM ` + f.role())
	for _, c := range []struct {
		access relay.DeadAccess
		want   string
	}{
		{relay.ReadDead, "GRANT SELECT ON"},
		{relay.ReplayDead, "GRANT UPDATE (available_at, attempts, first_attempt_at, dead_at) ON"},
		{relay.DiscardDead, "GRANT DELETE ON"},
	} {
		_, err := f.database().OpenDead(t.Context(), c.access)
		if !errors.Is(err, relay.ErrSetup) || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Fatalf("%s: %v, want %s", c.access, err, c.want)
		}
		fix := grantInText.FindStringSubmatch(err.Error())
		if fix == nil {
			t.Fatalf("%s: no statement to run in %q", c.access, err)
		}
		f.exec(fix[1])
		if d, err := f.database().OpenDead(t.Context(), c.access); err != nil {
			t.Errorf("%s, after %s: %v", c.access, fix[1], err)
		} else {
			d.Close()
		}
	}
}
