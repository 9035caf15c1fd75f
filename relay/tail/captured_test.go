package tail

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/wal"
	"github.com/outbox-relay/outbox-relay/schema"
)

var update = flag.Bool("update", false, "capture testdata/*.txt anew, with the PostgreSQL at hand")

// script is what the logs in testdata tell: every kind of message that pgoutput
// sends to a reader of protocol 1, among them those that the relay skips.
const script = `
CREATE PUBLICATION everything FOR ALL TABLES WITH (publish_via_partition_root = true);
CREATE TYPE color AS ENUM ('red', 'green');
CREATE DOMAIN document AS json;
CREATE TABLE clicks (id bigint PRIMARY KEY, color color, page document);
SELECT pg_create_logical_replication_slot('capture', 'pgoutput');
INSERT INTO outbox (message_id, topic, key, payload, headers, created_at) VALUES
	('00000000-0000-4000-8000-000000000001', 'clicks.made', 'k1', '{"url": "a"}', '{"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "a": "\"é\""}', '2026-01-02 03:04:05.678+00'),
	('00000000-0000-4000-8000-000000000002', 'clicks.made', NULL, '{"url": "b"}', '{}', '2026-01-02 03:04:06+00');
BEGIN; INSERT INTO clicks VALUES (1, 'red', '{"title": "a domain"}'); SAVEPOINT s; INSERT INTO outbox (topic, payload) VALUES ('undone', '1'); ROLLBACK TO s;
	INSERT INTO outbox (message_id, topic, payload, created_at) VALUES ('00000000-0000-4000-8000-000000000003', 'clicks.made', '3', '2026-01-02 03:04:07+00'); COMMIT;
UPDATE clicks SET color = 'green';
UPDATE outbox SET sent_at = '2026-02-02 00:00:00+00', payload = payload WHERE id = 1;
DELETE FROM outbox WHERE id = 2;
ALTER TABLE outbox ADD COLUMN tenant int;
INSERT INTO outbox (message_id, topic, payload, headers, created_at, available_at, attempts, tenant) VALUES
	('00000000-0000-4000-8000-000000000004', 'later', '4', '{"n": 1}', '0044-03-15 12:00:00 BC', 'infinity', 2, 7);
INSERT INTO outbox (message_id, topic, payload, created_at, sent_at) VALUES ('00000000-0000-4000-8000-000000000005', 'sent', '5', '-infinity', '2026-03-03 00:00:00+00');
SELECT pg_logical_emit_message(true, 'prefix', 'content');
SELECT pg_replication_origin_create('elsewhere'), pg_replication_origin_session_setup('elsewhere');
INSERT INTO outbox (message_id, topic, key, payload, headers, content_type, created_at) VALUES ('00000000-0000-4000-8000-000000000006', 'with origin', '', '6', '["no object"]', 'text/plain', '2026-01-02 03:04:08+00');
SELECT pg_replication_origin_session_reset();
TRUNCATE clicks;
ALTER TABLE outbox RENAME TO outbox_old;
INSERT INTO outbox_old (topic, payload) VALUES ('renamed', '7')`

// capture runs the script and writes what pgoutput says of it.
func capture(t *testing.T) {
	conn := pgtest.Connect(t, pgtest.Database(t))
	if err := schema.Migrate(t.Context(), conn, schema.Options{Table: testTable}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if _, err := conn.Exec(t.Context(), "SELECT pg_drop_replication_slot('capture'), pg_replication_origin_drop('elsewhere')"); err != nil {
			t.Error(err)
		}
	}()
	for sql := range strings.SplitSeq(script, ";\n") {
		if _, err := conn.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	var text bytes.Buffer
	if _, err := conn.Exec(t.Context(), "SET TimeZone = 'UTC'"); err != nil {
		t.Fatal(err)
	}
	rows, err := conn.Query(t.Context(), `SELECT lsn::text, encode(data, 'hex') FROM pg_logical_slot_peek_binary_changes('capture', NULL, NULL,
		'proto_version', '1', 'publication_names', 'everything', 'messages', 'true')`)
	if err != nil {
		t.Fatal(err)
	}
	var entries []entry
	var lsn, data string
	_, err = pgx.ForEachRow(rows, []any{&lsn, &data}, func() error {
		e, err := parseEntry(lsn + " " + data)
		entries = append(entries, e)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	text.WriteString(tell(t, entries))
	version := majorVersion(conn.PgConn())
	if err := os.WriteFile(filepath.Join("testdata", fmt.Sprintf("pg%d.txt", version)), text.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// entry is a message of a captured log.
type entry struct {
	lsn  wal.LSN
	data []byte
}

func parseEntry(line string) (entry, error) {
	at, digits, _ := strings.Cut(line, " ")
	lsn, err := wal.ParseLSN(at)
	data, err2 := hex.DecodeString(digits)
	return entry{lsn, data}, errors.Join(err, err2)
}

// tell writes a log with what the decoder makes of it, each event on the line
// after its message, and checks that a message taken off the connection tells
// the same as one held in memory.
func tell(t *testing.T, entries []entry) string {
	t.Helper()
	d, d2 := newTestDecoder(), newTestDecoder()
	var b strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&b, "%s %x\n", e.lsn, e.data)
		ev, ok, err := d.decode(held(e.data), e.lsn)
		ev2, ok2, err2 := d2.decode(streamed(e.data), e.lsn)
		if ok != ok2 || !sameError(err, err2) || !sameEvent(ev, ev2) {
			t.Fatalf("%c: held in memory: %+v (%v), taken off the connection: %+v (%v)", e.data[0], ev, err, ev2, err2)
		}
		if err != nil {
			fmt.Fprintf(&b, "  error: %v\n", err)
			break
		}
		if ok {
			fmt.Fprintf(&b, "  %s\n", describe(ev))
		}
	}
	return b.String()
}

func describe(ev Event) string {
	const form = "2006-01-02 15:04:05.999999"
	text := fmt.Sprintf("%s lsn=%s xid=%d commit=%s", ev.Kind, ev.LSN, ev.XID, ev.CommitTime.Format(form))
	if ev.Kind != Row {
		return text
	}
	m := ev.Message
	text += fmt.Sprintf(" pending=%v due=%v available=%s id=%d %s topic=%q key=%q(%v) payload=%q type=%q headers=%q created=%s attempts=%d size=%d note=%q",
		ev.Pending, ev.Due, ev.AvailableAt.Format(form), m.ID, m.MessageID, m.Topic, m.Key, m.Keyed, m.Payload, m.ContentType,
		m.Headers, m.CreatedAt.Format(form), m.Attempts, m.Size, m.Note)
	if m.Defect != nil {
		text += fmt.Sprintf(" defect=%q", m.Defect)
	}
	return text
}

// captured reads the messages of the files in testdata.
func captured(t testing.TB) map[string][]entry {
	t.Helper()
	files, err := filepath.Glob("testdata/pg*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no captured logs: %v", err)
	}
	logs := make(map[string][]entry)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(bytes.NewReader(data))
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), " ") {
				continue
			}
			e, err := parseEntry(lines.Text())
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			logs[file] = append(logs[file], e)
		}
		if err := lines.Err(); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	return logs
}

func TestCapturedLogsTellWhatHappened(t *testing.T) {
	if *update {
		capture(t)
	}
	for file, entries := range captured(t) {
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got := tell(t, entries); got != string(want) {
			t.Errorf("%s: got\n%s", file, got)
		}
		kinds := make(map[byte]bool)
		for _, e := range entries {
			kinds[e.data[0]] = true
		}
		for _, kind := range []byte("BCORYIUDTM") {
			if !kinds[kind] {
				t.Errorf("%s has no message of the kind %c", file, kind)
			}
		}
	}
}

// FuzzLog decodes logs, those of the captured transactions first: messages, each
// after its length in two bytes.
func FuzzLog(f *testing.F) {
	relation := relationMessage(testRelation, testTable, wireColumns())
	add := func(log, b []byte) []byte {
		return append(append(log, byte(len(b)>>8), byte(len(b))), b...)
	}
	for _, entries := range captured(f) {
		log := add(nil, relation)
		for _, e := range entries {
			log = add(log, e.data)
			if e.data[0] == 'R' {
				relation = e.data
			}
			if e.data[0] == 'C' {
				f.Add(log, int64(len(log)%10))
				log = add(nil, relation)
			}
		}
	}
	f.Fuzz(func(t *testing.T, log []byte, limit int64) {
		var entries []entry
		for len(log) > 2 {
			n := min(int(log[0])<<8|int(log[1]), len(log)-2)
			entries = append(entries, entry{1, log[2 : 2+n]})
			log = log[2+n:]
		}
		checkBothWays(t, entries, limit)
	})
}

// FuzzMessage decodes one message in the middle of a transaction.
func FuzzMessage(f *testing.F) {
	for _, entries := range captured(f) {
		for _, e := range entries {
			f.Add(e.data)
		}
	}
	before := []entry{{1, relationMessage(testRelation, testTable, wireColumns())}, {1, beginMessage(7, testCommitted)}}
	f.Add(newTextRow().message(testRelation))
	f.Fuzz(func(t *testing.T, b []byte) {
		checkBothWays(t, append(before[:2:2], entry{1, b}), 1000)
	})
}

// checkBothWays decodes until the first error, from memory and from the
// connection, and checks what holds for each event.
func checkBothWays(t *testing.T, entries []entry, limit int64) {
	d, d2 := newTestDecoder(), newTestDecoder()
	d.limit = func() int64 { return limit }
	d2.limit = d.limit
	for _, e := range entries {
		ev, ok, err := d.decode(held(e.data), e.lsn)
		ev2, ok2, err2 := d2.decode(streamed(e.data), e.lsn)
		if ok != ok2 || (err == nil) != (err2 == nil) || ok && !sameEvent(ev, ev2) {
			t.Fatalf("%x: held in memory: %+v %v (%v), taken off the connection: %+v %v (%v)", e.data, ev, ok, err, ev2, ok2, err2)
		}
		if err != nil {
			return
		}
		if ok && ev.Kind == Row {
			checkRow(t, ev, limit)
		}
	}
}

func checkRow(t *testing.T, ev Event, limit int64) {
	m := ev.Message
	switch {
	case m == nil:
		t.Fatal("a row without a message")
	case m.Defect != nil && m.Payload != nil:
		t.Fatalf("%+v has a defect and a payload", m)
	case m.Defect == nil && (m.Payload != nil) != (ev.Pending && ev.Due):
		t.Fatalf("%+v: payload %q", ev, m.Payload)
	case limit > 0 && int64(len(m.Payload)) > limit:
		t.Fatalf("the payload has %d bytes, over the limit of %d", len(m.Payload), limit)
	case m.Size < 0 || m.Payload != nil && m.Size < int64(len(m.Payload)+len(m.Topic)+len(m.Key)):
		t.Fatalf("%+v: its size is too small", m)
	}
}
