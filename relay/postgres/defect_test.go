package postgres_test

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/schema"
)

func TestRowsThatCanNeverBePublishedAreDefects(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	long := strings.Repeat("x", 5<<20)
	for _, v := range []struct{ topic, key, payload, headers string }{
		{"t", "k", `"fine"`, `{}`},
		{"t", "k", `1`, `["a"]`},
		{"t", "k", `1`, `"a"`},
		{"t", "k", `1`, `{"n": 1, "ok": "x"}`},
		{"t", "k", `1`, `{"n": null}`},
		{"t", "k", `"` + strings.Repeat("y", 1000) + `"`, `{}`},
		{"t", "k", `"` + strings.Repeat("y", 100_000) + `"`, `{}`},
		{long, "k", `1`, `{}`},
		{"t", long, `1`, `{}`},
		{"t", "k", `1`, `{"a": "` + long + `"}`},
		{"t", "k", `1`, `{"a": "` + strings.Repeat("y", 50_000) + `"}`},
		{"t", "k", `"fine too"`, `{"traceparent": "00-0-0-0"}`},
	} {
		f.exec(`INSERT INTO {t} (topic, key, payload, headers) VALUES ($1, $2, $3, $4)`, v.topic, v.key, v.payload, v.headers)
	}
	wants := []struct {
		defect   string
		tooLarge bool
	}{
		{},
		{"headers are an array, not an object of strings", false},
		{"headers are a string, not an object", false},
		{`header "n" is a number, not a string`, false},
		{`header "n" is null, not a string`, false},
		{"the payload takes 1002 bytes or more, the limit is 900", true},
		{"the limit is 900", true},
		{"topic, key, content type and headers together take", true},
		{"together take", true},
		{"together take", true},
		{},
		{},
	}
	_, s := f.lead()
	req := request(f.begin(s))
	req.MaxMessageBytes = 900
	rows := f.drain(s, req)
	if len(rows) != len(wants) {
		t.Fatalf("%d rows, want %d", len(rows), len(wants))
	}
	for i, want := range wants {
		m := rows[i].Message
		switch {
		case want.defect == "":
			if m.Defect != nil || m.Payload == nil {
				t.Errorf("row %d: defect %v", m.ID, m.Defect)
			}
		case m.Defect == nil || !strings.Contains(m.Defect.Error(), want.defect):
			t.Errorf("row %d: defect %v, want %q", m.ID, m.Defect, want.defect)
		case errors.Is(m.Defect, relay.ErrTooLarge) != want.tooLarge:
			t.Errorf("row %d: %v is ErrTooLarge: %t", m.ID, m.Defect, !want.tooLarge)
		case m.Payload != nil || strings.Contains(m.Defect.Error(), "yyy"):
			t.Errorf("row %d: the payload is there", m.ID)
		}
	}
	if note := rows[11].Note; !strings.Contains(note, "traceparent header is malformed") {
		t.Errorf("note %q", note)
	}
	if m := rows[10].Message; len(m.Headers) != 1 || len(m.Headers[0].Value) != 50_000 {
		t.Errorf("%d headers", len(m.Headers))
	}
}

// The constraints go while the relay runs, and a domain takes their place: what the
// shape promises and a row breaks is that row's defect, and stops no other.
func TestNullsAreDefectsOfTheirRows(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	c, s := f.lead()
	for _, column := range []string{"message_id", "topic", "payload", "headers", "content_type", "created_at", "attempts"} {
		f.exec(`ALTER TABLE {t} ALTER COLUMN ` + column + ` DROP NOT NULL`)
	}
	f.exec(`ALTER TABLE {t} ALTER COLUMN attempts DROP DEFAULT`)
	long := `repeat(md5(random()::text), 1000)`
	wants := []struct{ columns, values, defect string }{
		{"topic, payload", `NULL, '1'`, "the topic is NULL"},
		{"topic, payload", `'t', NULL`, "the payload is NULL"},
		{"message_id, topic, payload", `NULL, 't', '1'`, "the message_id is NULL"},
		{"topic, payload", `NULL, to_json(` + long + `)`, "the topic is NULL"},
		{"topic, content_type, payload", `'t', ` + long + `, NULL`, "the payload is NULL"},
		{"message_id, topic, payload", `NULL, 't', to_json(` + long + `)`, "the message_id is NULL"},
		{"topic, payload, headers, content_type, created_at", `'t', '1', NULL, NULL, NULL`, ""},
		{"topic, payload, headers, content_type, created_at", `'t', to_json(` + long + `), NULL, NULL, NULL`, ""},
	}
	for _, w := range wants {
		f.exec(`INSERT INTO {t} (` + w.columns + `) VALUES (` + w.values + `)`)
	}
	rows := f.readPass(s)
	if len(rows) != len(wants) {
		t.Fatalf("%d rows, want %d", len(rows), len(wants))
	}
	var refusals []relay.Refusal
	for i, w := range wants {
		switch m := rows[i].Message; {
		case w.defect == "" && m.Defect != nil, w.defect != "" && (m.Defect == nil || !strings.Contains(m.Defect.Error(), w.defect)):
			t.Errorf("row %d: defect %v, want %q", i+1, m.Defect, w.defect)
		case m.Defect != nil:
			refusals = append(refusals, relay.Refusal{Ref: m.Ref, Reason: m.Defect.Error(), Final: true})
		}
	}
	verdicts, err := c.Refuse(t.Context(), relay.AttemptLimit{}, refusals)
	if err != nil || len(verdicts) != 6 || f.count(`dead_at IS NOT NULL AND attempts = 1`) != 6 {
		t.Errorf("verdicts %+v: %v", verdicts, err)
	}
	if done := mark(t, c, refs(rows)[6:]...); len(done) != 2 || f.count(`sent_at IS NOT NULL`) != 2 {
		t.Errorf("marked %v", done)
	}
}

// Not parallel: it counts what the process allocates.
func TestHugePayloadIsNeverFetched(t *testing.T) {
	f := setup(t, shape{})
	f.exec(`INSERT INTO {t} (topic, key, payload) SELECT 't', 'k', ('"' || repeat('0123456789abcdef', 64 * 65536) || '"')::json`)
	_, s := f.lead()
	req := request(f.begin(s))
	req.MaxMessageBytes = 1 << 20
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	rows := f.drain(s, req)
	runtime.ReadMemStats(&after)
	if len(rows) != 1 || !errors.Is(rows[0].Defect, relay.ErrTooLarge) || rows[0].Payload != nil || rows[0].Key != "k" {
		t.Fatalf("%+v", rows)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 2<<20 {
		t.Errorf("the pass allocated %d bytes", used)
	}
	if rows[0].Size > 4096 {
		t.Errorf("size %d", rows[0].Size)
	}
}

// A jsonb of a kilobyte can be megabytes as text.
func TestExplodingJSONIsMeasuredBeforeItIsFetched(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{payload: schema.PayloadJSONB})
	f.exec(`INSERT INTO {t} (topic, payload) SELECT 't', CASE n
			WHEN 700 THEN ('[' || repeat('1e131071,', 200) || '0]')::jsonb ELSE to_jsonb(n) END FROM generate_series(1, 1000) AS n`)
	_, s := f.lead()
	req := request(f.begin(s))
	req.MaxMessageBytes = 1 << 20
	rows := f.drain(s, req)
	if len(rows) != 1000 {
		t.Fatalf("%d rows", len(rows))
	}
	for _, r := range rows {
		if errors.Is(r.Defect, relay.ErrTooLarge) != (r.ID == 700) {
			t.Errorf("row %d: defect %v", r.ID, r.Defect)
		}
	}
}

// In a database of another encoding a row can have a character that UTF-8 lacks:
// the server fails on it, and every row read together with it would fail.
func TestRowThatTheServerFailsOnIsADefectAlone(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{payload: schema.PayloadText, database: "ENCODING WIN1252 LOCALE 'C'"})
	f.exec(`SET client_encoding = 'UTF8'`)
	f.exec(`INSERT INTO {t} (topic, payload) SELECT CASE WHEN n IN (77, 300, 301) THEN 't' || chr(129) ELSE 't' END,
			CASE WHEN n % 50 = 3 THEN repeat(md5(n::text), 500) || CASE WHEN n IN (153, 253) THEN chr(129) ELSE '' END ELSE 'é' END
		FROM generate_series(1, 400) AS n`)
	_, s := f.lead()
	for _, n := range []int{1000, 60} {
		req := request(f.begin(s))
		req.Rows = n
		rows := f.drain(s, req)
		if len(rows) != 400 {
			t.Fatalf("%d rows", len(rows))
		}
		for i, r := range rows {
			bad := slices.Contains([]int64{77, 300, 301, 153, 253}, r.ID)
			if r.ID != int64(i+1) || bad != (r.Defect != nil) {
				t.Errorf("row %d: %v", r.ID, r.Defect)
			}
			if bad && !strings.Contains(r.Defect.Error(), "SQLSTATE 22P05") {
				t.Error(r.Defect)
			}
		}
		if string(rows[0].Payload) != "é" {
			t.Errorf("payload %q", rows[0].Payload)
		}
	}
}

// columnsCheck is what doctor is told of the columns.
func (f *fixture) columnsCheck() relay.Check {
	f.t.Helper()
	checks := f.database().Examine(f.t.Context(), 1).Checks
	i := slices.IndexFunc(checks, func(c relay.Check) bool { return c.Name == "columns" })
	if i < 0 {
		f.t.Fatalf("the columns were not examined: %+v", checks)
	}
	return checks[i]
}

// wantColumns demands that doctor is told whether topics can be NULL.
func (f *fixture) wantColumns(nulls bool) {
	f.t.Helper()
	c := f.columnsCheck()
	if nulls != (c.Severity == relay.Warning && strings.Contains(c.Found, "a NULL in topic end dead")) || !nulls && c.Severity != relay.Fine {
		f.t.Errorf("NULLs are possible: %t; %+v", nulls, c)
	}
}

// nullTopic reads the one row, whose topic is NULL and a defect.
func (f *fixture) nullTopic(s relay.Reader) relay.Row {
	f.t.Helper()
	rows := f.readPass(s)
	if len(rows) != 1 || rows[0].Defect == nil || !strings.Contains(rows[0].Defect.Error(), "the topic is NULL") {
		f.t.Fatalf("%+v", rows)
	}
	return rows[0]
}

// A domain's NOT NULL is a promise, also one of a domain below. PostgreSQL itself does
// not quite keep it: what comes out of a sub-select is not checked again.
func TestDomainsNotNullIsAPromise(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	_, s := f.lead()
	f.exec(`DROP TRIGGER outbox_guard ON {t}`)
	f.exec(`CREATE DOMAIN filled AS text NOT NULL`)
	f.exec(`CREATE DOMAIN topic_name AS filled CHECK (VALUE <> '')`)
	f.exec(`CREATE DOMAIN any_name AS text CHECK (VALUE <> '')`)
	f.exec(`ALTER TABLE {t} ALTER topic DROP NOT NULL`)
	f.wantColumns(true)
	for domain, nulls := range map[string]bool{"any_name": true, "filled": false, "topic_name": false} {
		f.exec(`ALTER TABLE {t} ALTER topic TYPE ` + domain)
		f.wantColumns(nulls)
		f.exec(`INSERT INTO {t} (topic, payload) VALUES ((SELECT topic FROM {t} WHERE false), '1')`)
		f.nullTopic(s)
		f.exec(`DELETE FROM {t}`)
	}
}

// From version 18 on a NOT NULL can be added without a look at the rows. Those that
// are there may have a NULL all the same, and PostgreSQL takes no UPDATE of them: the
// verdict on such a row cannot be written, which is that row's trouble alone. The
// printed fix validates the constraint.
func TestNotNullThatIsNotValidIsNoPromise(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	if version := f.value(`SELECT current_setting('server_version_num')::int`).(int32); version < 180000 {
		t.Skipf("PostgreSQL %d has no NOT NULL that is not valid: make matrix runs this on 18", version/10000)
	}
	c, s := f.lead()
	f.exec(`ALTER TABLE {t} ALTER topic DROP NOT NULL`)
	f.exec(`INSERT INTO {t} (topic, payload) VALUES (NULL, '1')`)
	f.exec(`ALTER TABLE {t} ADD CONSTRAINT topic_filled NOT NULL topic NOT VALID`)
	if !f.value(`SELECT attnotnull FROM pg_attribute WHERE attrelid = '{t}'::regclass AND attname = 'topic'`).(bool) {
		t.Error("the catalog no longer says that the column is NOT NULL, which this test is about")
	}
	f.wantColumns(true)
	row := f.nullTopic(s)
	_, err := c.Refuse(t.Context(), relay.AttemptLimit{}, []relay.Refusal{{Ref: row.Ref, Reason: row.Defect.Error(), Final: true}})
	if !errors.Is(err, relay.ErrWriteRefused) || !strings.Contains(err.Error(), `null value in column "topic"`) {
		t.Errorf("the verdict: %v", err)
	}
	f.exec(`DELETE FROM {t}`)
	for line := range strings.Lines(f.columnsCheck().Fix) {
		f.exec(line)
	}
	f.wantColumns(false)
}
