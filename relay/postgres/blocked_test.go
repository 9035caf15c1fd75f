package postgres_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

// Under OUTBOX_DEAD_POLICY=block nothing behind a dead row of its key is read, by passes,
// refills and surveys alike.
func TestDeadRowBlocksItsKey(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	long := strings.Repeat("k", 10_000)
	f.exec(`INSERT INTO {t} (id, topic, key, payload, dead_at, available_at) VALUES
		(1, 't', 'a', '1', NULL, NULL), (2, 't', 'a', '1', now(), NULL), (3, 't', 'a', '1', NULL, NULL), (4, 't', 'a', '1', NULL, now() - interval '1 s'),
		(5, 't', 'b', '1', NULL, NULL), (6, 't', NULL, '1', now(), NULL), (7, 't', NULL, '1', NULL, NULL),
		(8, 't', $1, '1', now(), NULL), (9, 't', $1, '1', NULL, NULL), (10, 't', 'sent', '1', now(), NULL), (11, 't', 'sent', '1', NULL, NULL)`, long)
	f.exec(`UPDATE {t} SET sent_at = now() WHERE id = 10`)
	f.options.DeadPolicy = postgres.BlockDead
	_, s := f.lead()
	if got, want := ids(f.readPass(s)), []int64{1, 5, 7, 11}; !slices.Equal(got, want) {
		t.Errorf("a pass brings %v, want %v", got, want)
	}
	a := "a"
	req := request(f.begin(s))
	req.OnlyKey = &a
	if got, want := ids(f.drain(s, req)), []int64{1}; !slices.Equal(got, want) {
		t.Errorf("a refill brings %v, want %v", got, want)
	}
	req = request(f.begin(s))
	req.ExcludeKeys = []string{"b"}
	if got, want := ids(f.drain(s, req)), []int64{1, 7, 11}; !slices.Equal(got, want) {
		t.Errorf("a chunk without a key brings %v, want %v", got, want)
	}
	survey, err := s.Survey(t.Context(), relay.ChunkRequest{Rows: 100, Bytes: 1 << 20, KeyRows: 10})
	if err != nil || !survey.Complete {
		t.Fatal(survey, err)
	}
	if got, want := ids(survey.Rows), []int64{1, 5, 7, 11}; !slices.Equal(got, want) {
		t.Errorf("a survey brings %v, want %v", got, want)
	}
	if b := survey.Blocked; len(b) != 2 || b["a"] != 2 || b[relay.KeyName(long)] != 8 {
		t.Errorf("a survey tells that %v are blocked", b)
	}
	f.exec(`SELECT public.outbox_replay(2)`)
	f.exec(`DELETE FROM {t} WHERE id = 8`)
	if got, want := ids(f.readPass(s)), []int64{1, 2, 3, 4, 5, 7, 9, 11}; !slices.Equal(got, want) {
		t.Errorf("after a replay and a delete a pass brings %v, want %v", got, want)
	}
}

// A million rows behind a dead one are no statement's work.
func TestStatementOverBlockedRowsIsBounded(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.exec(`INSERT INTO {t} (topic, key, payload, dead_at) VALUES ('t', 'a', '1', now())`)
	f.exec(`INSERT INTO {t} (topic, key, payload) SELECT 't', 'a', '1' FROM generate_series(1, 40000)`)
	f.exec(`INSERT INTO {t} (topic, key, payload) VALUES ('t', 'b', '1')`)
	f.options.DeadPolicy = postgres.BlockDead
	_, s := f.lead()
	req := request(f.begin(s))
	statements := 0
	for done := false; !done; statements++ {
		c := f.chunk(s, req)
		req.After, done = c.Cursor, c.Done
		if done && (len(c.Rows) != 1 || c.Rows[0].Key != "b") {
			t.Errorf("%+v", c.Rows)
		}
	}
	if statements < 3 {
		t.Errorf("40,000 rows were looked at by %d statements", statements)
	}
}

func TestTooManyDeadRowsLeaveTheSurveyIncomplete(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.exec(`INSERT INTO {t} (topic, key, payload, dead_at) SELECT 't', 'k' || n, '1', now() FROM generate_series(1, 20001) AS n`)
	f.options.DeadPolicy = postgres.BlockDead
	_, s := f.lead()
	req := relay.ChunkRequest{Rows: 100, Bytes: 1 << 20, KeyRows: 10}
	if survey, err := s.Survey(t.Context(), req); err != nil || survey.Complete {
		t.Errorf("%+v, %v", survey.Complete, err)
	}
	f.exec(`DELETE FROM {t} WHERE id = 1`)
	if survey, err := s.Survey(t.Context(), req); err != nil || !survey.Complete || len(survey.Blocked) != 20_000 {
		t.Errorf("%+v, %v", survey.Complete, err)
	}
}

func TestBlockNeedsItsIndex(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.exec(`DROP INDEX outbox_dead_key_idx`)
	if c, err := f.database().Connect(t.Context()); err != nil {
		t.Error("without the policy:", err)
	} else {
		c.Close()
	}
	f.options.DeadPolicy = postgres.BlockDead
	_, err := f.database().Connect(t.Context())
	if !errors.Is(err, relay.ErrSetup) || !strings.Contains(err.Error(), `OUTBOX_DEAD_POLICY=block needs the index "outbox_dead_key_idx"`) {
		t.Errorf("%v", err)
	}
}

// Whatever the statistics say, a row's key is looked up in the index of dead rows by key.
func TestBlockedKeysAreLookedUpByKey(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.exec(`ALTER TABLE {t} SET (autovacuum_enabled = off)`)
	f.options.DeadPolicy = postgres.BlockDead
	for _, arrange := range []string{
		`SELECT`, `ANALYZE {t}`, `INSERT INTO {t} (topic, key, payload, dead_at) SELECT 't', 'k' || n, '1', now() FROM generate_series(1, 3000) AS n`,
		`ANALYZE {t}`, `UPDATE {t} SET dead_at = NULL`, `ANALYZE {t}`, `UPDATE {t} SET dead_at = now()`,
	} {
		f.exec(arrange)
		leader, s := f.lead()
		plans, err := postgres.Explain(t.Context(), leader, s)
		if err != nil {
			t.Fatal(err)
		}
		for name, text := range plans {
			if strings.HasPrefix(name, "scan") && (!strings.Contains(text, `"outbox_dead_key_idx"`) || strings.Contains(text, `"outbox_dead_idx"`)) {
				t.Errorf("after %s, %s: %s", arrange, name, text)
			}
		}
		leader.Close()
		s.Close()
	}
}
