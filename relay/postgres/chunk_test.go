package postgres_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/schema"
)

func TestPassReadsEveryColumnUntouched(t *testing.T) {
	t.Parallel()
	for payload, want := range map[schema.PayloadType]string{
		schema.PayloadJSON:  `{"b" : 1,"a":[ ] , "b":2, "e":"é\u00e9"}`,
		schema.PayloadJSONB: `{"a": [], "b": 2, "e": "éé"}`,
		schema.PayloadText:  `{"b" : 1,"a":[ ] , "b":2, "e":"é\u00e9"}`,
		schema.PayloadBytea: "\x00\x01\xff{\\x",
	} {
		t.Run(string(payload), func(t *testing.T) {
			f := setup(t, shape{payload: payload})
			sent := any(`{"b" : 1,"a":[ ] , "b":2, "e":"é\u00e9"}`)
			if payload == schema.PayloadBytea {
				sent = []byte(want)
			}
			id := "0194f3c2-8a0f-7cc3-98c4-dc0c0c07398f"
			f.exec(`INSERT INTO {t} (message_id, topic, key, payload, content_type, headers, created_at)
				VALUES ($1, 'orders.é', 'k 1', $2, 'text/x', '{"z": "1", "Ab": "q\"\\ \t\u0001é"}', '2024-02-29 12:34:56.789012+02')`, id, sent)
			_, s := f.lead()
			rows := f.readPass(s)
			if len(rows) != 1 {
				t.Fatalf("%d rows", len(rows))
			}
			m := rows[0].Message
			if m.ID != 1 || m.MessageID.String() != id || m.Topic != "orders.é" || !m.Keyed || m.Key != "k 1" ||
				m.ContentType != "text/x" || m.Attempts != 0 || m.Defect != nil || m.Note != "" || rows[0].Wait != 0 {
				t.Errorf("%+v", m)
			}
			if string(m.Payload) != want {
				t.Errorf("payload %q, want %q", m.Payload, want)
			}
			if h := fmt.Sprintf("%q", m.Headers); h != `[{"Ab" "q\"\\ \t\x01é"} {"z" "1"}]` {
				t.Error("headers", h)
			}
			if at := m.CreatedAt.Format(time.RFC3339Nano); at != "2024-02-29T10:34:56.789012Z" {
				t.Error("created at", at)
			}
			if least := int64(relay.MessageOverhead + len(want) + len("orders.é") + 3); m.Size < least {
				t.Errorf("size %d, want at least %d", m.Size, least)
			}
		})
	}
}

func TestPassReadsKeylessAndEmpty(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{payload: schema.PayloadText})
	f.exec(`INSERT INTO {t} (topic, key, payload, created_at) VALUES ('t', NULL, '', 'infinity'), ('t', '', 'x', '-infinity')`)
	_, s := f.lead()
	rows := f.readPass(s)
	if m := rows[0].Message; m.Keyed || m.Payload == nil || len(m.Payload) != 0 || m.Defect != nil || !m.CreatedAt.IsZero() {
		t.Errorf("%+v", m)
	}
	if m := rows[1].Message; !m.Keyed || m.Key != "" {
		t.Errorf("%+v", m)
	}
}

// The pass is a frame: whatever is in the table, and however it is cut into
// chunks, it brings the pending rows that were due at its start, in order, once.
func TestChunksAddUpToThePass(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{payload: schema.PayloadText})
	f.exec(`INSERT INTO {t} (topic, key, payload, available_at, attempts, sent_at, dead_at)
		SELECT 't', CASE WHEN n % 3 > 0 THEN 'k' || n % 7 END,
			CASE WHEN n % 50 = 0 THEN repeat(md5(n::text), 2000) WHEN n % 11 = 0 THEN repeat('z', 30000) ELSE repeat('x', n % 500) END,
			CASE n % 5 WHEN 0 THEN now() - interval '1 hour' WHEN 1 THEN now() + interval '1 day' END,
			CASE WHEN n % 4 = 0 THEN 1 ELSE 0 END,
			CASE WHEN n % 13 = 0 THEN now() END, CASE WHEN n % 17 = 0 THEN now() END
		FROM generate_series(1, 2000) AS n`)
	_, s := f.lead()
	pass := f.begin(s)
	if len(pass.Scheduled) == 0 || pass.Bound != 2000 {
		t.Fatalf("%+v", pass)
	}
	var want []int64
	r, err := f.admin.Query(t.Context(), f.sql(`SELECT id FROM {t} WHERE sent_at IS NULL AND dead_at IS NULL
		AND (available_at IS NULL OR available_at <= $1 OR attempts > 0) ORDER BY id`), pass.Start)
	if err != nil {
		t.Fatal(err)
	}
	var id int64
	for r.Next() {
		if err := r.Scan(&id); err != nil {
			t.Fatal(err)
		}
		want = append(want, id)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 6 {
		req := request(pass)
		req.Rows, req.Bytes = 1+random.IntN(500), 5000+random.Int64N(200_000)
		rows := f.drain(s, req)
		if got := ids(rows); !slices.Equal(got, want) {
			t.Fatalf("with %d rows and %d bytes: got %d rows, want %d", req.Rows, req.Bytes, len(got), len(want))
		}
		for _, row := range rows {
			waits := row.ID%5 == 1
			if (row.Wait > 0) != waits || (row.Payload == nil) != waits {
				t.Fatalf("row %d: wait %s, payload %v", row.ID, row.Wait, row.Payload != nil)
			}
		}
	}
}

func TestChunkKeepsToItsBytes(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.exec(`INSERT INTO {t} (topic, payload) SELECT 't', to_json(repeat(CASE WHEN n % 2 = 0 THEN 'x' ELSE md5(n::text) END, n * 30))
		FROM generate_series(1, 100) AS n`)
	_, s := f.lead()
	req := request(f.begin(s))
	for _, bytes := range []int64{2000, 20_000, 200_000} {
		req.After = 0
		for {
			req.Bytes = bytes
			c := f.chunk(s, req)
			if c.NextSize > 0 {
				if len(c.Rows) > 0 || c.NextSize <= bytes {
					t.Fatalf("next size %d with %d rows, asked for %d bytes", c.NextSize, len(c.Rows), bytes)
				}
				req.Bytes = c.NextSize
				if c = f.chunk(s, req); len(c.Rows) != 1 || c.Rows[0].Size != req.Bytes {
					t.Fatalf("%d rows, next size %d, want one of %d bytes", len(c.Rows), c.NextSize, req.Bytes)
				}
			}
			var total int64
			for _, r := range c.Rows {
				total += r.Size
				if r.Size < int64(len(r.Payload))+relay.MessageOverhead {
					t.Fatalf("row %d of %d bytes counts %d", r.ID, len(r.Payload), r.Size)
				}
			}
			if total > req.Bytes {
				t.Fatalf("%d bytes, asked for %d", total, req.Bytes)
			}
			if c.Done {
				break
			}
			req.After = c.Cursor
		}
	}
}

// Rule 1: a row with a low id that commits after the pass has begun may be
// overtaken by later rows of its key if the pass went on beyond its bound.
func TestPassDoesNotGoBeyondItsBound(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.exec(`INSERT INTO {t} (topic, key, payload) VALUES ('t', 'a', '1')`)
	late := f.other()
	for _, sql := range []string{"BEGIN", f.sql(`INSERT INTO {t} (topic, key, payload) VALUES ('t', 'k', '2')`)} {
		if _, err := late.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	_, s := f.lead()
	pass := f.begin(s)
	if pass.Bound != 1 {
		t.Fatalf("bound %d, want 1: row 2 is not committed", pass.Bound)
	}
	if _, err := late.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	f.exec(`INSERT INTO {t} (topic, key, payload) VALUES ('t', 'k', '3')`)
	if got := ids(f.drain(s, request(pass))); !slices.Equal(got, []int64{1}) {
		t.Errorf("the pass brings %v", got)
	}
	if got := ids(f.readPass(s)); !slices.Equal(got, []int64{1, 2, 3}) {
		t.Errorf("the next pass brings %v", got)
	}
}

func TestPassJudgesByItsStart(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	_, s := f.lead()
	f.exec(`INSERT INTO {t} (topic, payload) VALUES ('due', '1')`)
	early := f.begin(s)
	f.exec(`INSERT INTO {t} (topic, payload, available_at) VALUES ('scheduled', '1', clock_timestamp())`)
	f.exec(`INSERT INTO {t} (topic, payload, available_at, attempts) VALUES ('retry', '1', clock_timestamp(), 1)`)
	early.Bound, early.Scheduled = 3, []int64{2} // as if they had been there, not yet due
	rows := f.drain(s, request(early))
	if got := ids(rows); !slices.Equal(got, []int64{1, 3}) {
		t.Fatalf("got %v, want the due row and the waiting one", got)
	}
	if r := rows[1]; r.Wait <= 0 || r.Wait > time.Minute || r.Payload != nil || r.Topic != "" {
		t.Errorf("%+v", r)
	}
	if got := f.readPass(s); len(got) != 3 || got[2].Wait != 0 || got[2].Payload == nil {
		t.Errorf("the next pass brings %v", ids(got))
	}
}

func TestPassLeavesOutKeys(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.exec(`INSERT INTO {t} (topic, key, payload, available_at) SELECT 't', nullif('k' || n % 10, 'k0'), '1',
		CASE WHEN n > 50 THEN now() - interval '1 hour' END FROM generate_series(1, 100) AS n`)
	_, s := f.lead()
	req := request(f.begin(s))
	for n := range 50_000 {
		req.ExcludeKeys = append(req.ExcludeKeys, fmt.Sprint("other ", n))
	}
	req.ExcludeKeys = append(req.ExcludeKeys, "k3", "K4", "")
	rows := f.drain(s, req) // within its deadline
	if len(rows) != 90 || slices.ContainsFunc(rows, func(r relay.Row) bool { return r.Key == "k3" }) {
		t.Errorf("%d rows", len(rows))
	}
}

func TestPassSurvivesChangesOfTheTable(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.exec(`INSERT INTO {t} (topic, payload) VALUES ('t', '{"a":1}')`)
	c, s := f.lead()
	first := f.readPass(s)
	for _, change := range []string{
		`DROP TRIGGER outbox_guard ON {t}`, // its list of columns forbids what follows
		`ALTER TABLE {t} ADD COLUMN tenant text NOT NULL DEFAULT 'x'`,
		`ALTER TABLE {t} ALTER COLUMN payload TYPE text`,
		`ALTER TABLE {t} ALTER COLUMN payload TYPE jsonb USING payload::jsonb`,
		`ALTER TABLE {t} ALTER COLUMN payload TYPE bytea USING convert_to(payload::text, 'UTF8')`,
		`ALTER TABLE {t} DROP COLUMN tenant`,
	} {
		f.exec(change)
		rows := f.readPass(s)
		if len(rows) != 1 || strings.ReplaceAll(string(rows[0].Payload), " ", "") != `{"a":1}` {
			t.Fatalf("after %s: %+v", change, rows)
		}
	}
	if _, err := f.admin.Exec(t.Context(), "DISCARD ALL"); err != nil { // of another session
		t.Fatal(err)
	}
	if done, err := c.Mark(t.Context(), marks(refs(first)...)); err != nil || len(done) != 1 {
		t.Error(done, err)
	}
	f.exec(`DROP TABLE {t}`)
	if _, err := s.Begin(t.Context()); !errors.Is(err, relay.ErrSetup) || !strings.Contains(err.Error(), "run outbox-relay migrate") {
		t.Error("after DROP TABLE:", err)
	}
}
