package tail_test

import (
	"bytes"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
	"github.com/outbox-relay/outbox-relay/relay/tail"
	"github.com/outbox-relay/outbox-relay/schema"
)

// messageLimit of the rows below, in bytes.
const messageLimit = 100_000

// oddRows are what a row may be, for each type of the payload; the topic tells
// them apart.
func oddRows(payload schema.PayloadType) []string {
	document := map[schema.PayloadType]string{
		schema.PayloadJSON:  `'{"b": 1,  "a": "é\u00e9\\ \"" }'::json`,
		schema.PayloadJSONB: `'{"b": 1,  "a": "é\u00e9\\ \"" }'::jsonb`,
		schema.PayloadText:  `E'Zeile 1\nZeile 2\t\\ ''é'''`,
		schema.PayloadBytea: `'\x00ff5c7827'::bytea`,
	}[payload]
	long := map[schema.PayloadType]string{
		schema.PayloadJSON:  `to_json(repeat('x', %d - 2))`,
		schema.PayloadJSONB: `to_jsonb(repeat('x', %d - 2))`,
		schema.PayloadText:  `repeat('x', %d)`,
		schema.PayloadBytea: `decode(repeat('5c', %d), 'hex')`,
	}[payload]
	rows := []string{
		`'plain', NULL, DOC, '{}', 'application/json', now(), 0`,
		`'with a key', 'k', DOC, '{"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "A": "b", "é": "\"\\ü\n"}', 'text/plain', '2024-02-29 12:34:56.000001+00', 3`,
		`'with an empty key', '', DOC, '{"traceparent": "nonsense"}', '', 'infinity', 0`,
		`'', 'empty topic', DOC, '{"n": 1}', 'x', '-infinity', 0`,
		`'headers an array', 'k', DOC, '[]', 'x', '0044-03-15 12:00:00+00 BC', 0`,
		`'a far year', 'k', DOC, 'null', 'x', '294000-01-01 00:00:00+00', 2147483647`,
		`'at the limit', 'k', LONG(100000), '{}', 'x', now(), 0`,
		`'over the limit', 'k', LONG(100001), '{}', 'x', now(), 0`,
		`'compressed', NULL, LONG(90000), '{"a": "b"}', 'x', now(), 0`,
		`'many headers', 'k', DOC, (SELECT jsonb_object_agg('name' || n, 'value' || n) FROM generate_series(1, 3000) AS n), 'x', now(), 0`,
	}
	for i, row := range rows {
		row = strings.ReplaceAll(row, "DOC", document)
		for _, n := range []string{"100000", "100001", "90000"} {
			row = strings.ReplaceAll(row, "LONG("+n+")", strings.ReplaceAll(long, "%d", n))
		}
		rows[i] = row
	}
	return rows
}

// randomRows inserts n rows whose columns are NULL, empty, usual or long as chance
// has it: what is long is measured by a pass before it is fetched, and the longest
// of all is over a limit. Lengths near smallRow and the limit are more likely.
func randomRows(payload schema.PayloadType, n int) string {
	document := map[schema.PayloadType]string{
		schema.PayloadJSON: `to_json(%s)`, schema.PayloadJSONB: `to_jsonb(%s)`,
		schema.PayloadText: `%s`, schema.PayloadBytea: `decode(md5(%[1]s) || repeat('5c', length(%[1]s)), 'hex')`,
	}[payload]
	text := `left(repeat(CASE WHEN random() < 0.5 THEN 'x' ELSE md5(random()::text) || 'é"' END, 100001),
		((ARRAY[0, 1, 8, 400, 8192, 20000, 99980, 100000])[1 + floor(random() * 8)::int] * (0.999 + random() * 0.002))::int)`
	return `INSERT INTO {t} (topic, key, payload, headers, content_type, created_at, available_at, attempts)
		SELECT CASE WHEN random() < 0.05 THEN NULL ELSE CASE WHEN random() < 0.1 THEN ` + text + ` ELSE 't' || n % 7 END END,
			CASE WHEN random() < 0.5 THEN ` + text + ` END,
			CASE WHEN random() < 0.95 THEN ` + fmt.Sprintf(document, text) + ` END,
			CASE WHEN random() < 0.3 THEN NULL WHEN random() < 0.3 THEN '{}' WHEN random() < 0.1 THEN '["a"]'
				ELSE jsonb_build_object('a', ` + text + `, 'traceparent', 'n' || n) END,
			CASE WHEN random() < 0.9 THEN ` + text + ` END,
			CASE WHEN random() < 0.9 THEN now() - random() * interval '1000 years' END,
			CASE WHEN random() < 0.1 THEN now() - interval '1 minute' END, (random() * 3)::int
		FROM generate_series(1, ` + fmt.Sprint(n) + `) AS n`
}

// A row gets the same message, or the same defect, whether the table or the log
// brings it.
func TestRowGetsTheMessageThatAPassWouldMakeOfIt(t *testing.T) {
	for _, payload := range []schema.PayloadType{schema.PayloadJSON, schema.PayloadJSONB, schema.PayloadText, schema.PayloadBytea} {
		t.Run(string(payload), func(t *testing.T) {
			f := setupOn(t, pgtest.Server(t), pgtest.Database(t), schema.Options{Table: outbox, PayloadType: payload})
			f.options.MaxMessageBytes = func() int64 { return messageLimit }
			s := f.stream()
			var told []tail.Event
			for _, row := range oddRows(payload) {
				f.exec("INSERT INTO {t} (topic, key, payload, headers, content_type, created_at, attempts) VALUES (" + row + ")")
				told = append(told, rows(t, s, 1)...)
			}
			for _, column := range []string{"topic", "payload", "headers", "content_type", "created_at"} {
				f.exec("ALTER TABLE {t} ALTER COLUMN " + column + " DROP NOT NULL")
			}
			f.exec(randomRows(payload, 300))
			told = append(told, rows(t, s, 300)...)
			for i, want := range f.pass() {
				if ev := told[i]; !ev.Pending || !ev.Due {
					t.Errorf("row %d: pending %v, due %v", want.ID, ev.Pending, ev.Due)
				} else {
					checkSame(t, *ev.Message, *want)
				}
			}
		})
	}
}

func checkSame(t *testing.T, got, want relay.Message) {
	t.Helper()
	if (got.Defect == nil) != (want.Defect == nil) || got.Defect != nil && got.Defect.Error() != want.Defect.Error() {
		t.Errorf("row %d: defect %v, by a pass %v", got.ID, got.Defect, want.Defect)
	}
	if !bytes.Equal(got.Payload, want.Payload) || (got.Payload == nil) != (want.Payload == nil) {
		t.Errorf("row %d: payload %.200q, by a pass %.200q", got.ID, got.Payload, want.Payload)
	}
	// The log knows the time of the commit, the table does not.
	if !got.DueSince.After(got.CreatedAt) {
		t.Errorf("row %d: due since %v, created at %v", got.ID, got.DueSince, got.CreatedAt)
	}
	got.Payload, want.Payload, got.Defect, want.Defect, got.DueSince = nil, nil, nil, nil, want.DueSince
	if !reflect.DeepEqual(got, want) {
		t.Errorf("by the tail  %.2000s\nby a pass %.2000s", fmt.Sprint(got), fmt.Sprint(want))
	}
}

// pass reads the table as the relay does while it polls.
func (f *fixture) pass() []*relay.Message {
	f.t.Helper()
	database, err := postgres.New(postgres.Options{URL: f.url, Table: f.table, Host: "test"})
	if err != nil {
		f.t.Fatal(err)
	}
	control, err := database.Connect(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	defer control.Close()
	if ok, err := control.TryLead(f.t.Context()); err != nil || !ok {
		f.t.Fatal("TryLead:", ok, err)
	}
	session, err := database.OpenReader(f.t.Context(), control)
	if err != nil {
		f.t.Fatal(err)
	}
	defer session.Close()
	pass, err := session.Begin(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	chunk, err := session.Chunk(f.t.Context(), relay.ChunkRequest{
		Pass: pass, After: math.MinInt64, Rows: 1000, Bytes: 1 << 30, MaxMessageBytes: messageLimit,
	})
	if err != nil || !chunk.Done {
		f.t.Fatal("Chunk:", chunk.Done, err)
	}
	var list []*relay.Message
	for _, row := range chunk.Rows {
		list = append(list, row.Message)
	}
	return list
}
