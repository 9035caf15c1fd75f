package postgres_test

import (
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay"
)

// hideToast takes away what is stored outside of the table's rows, as a damaged or
// unreadable disk does, and returns how to bring it back.
func (f *fixture) hideToast() (restore func()) {
	f.t.Helper()
	toast := f.value(`SELECT reltoastrelid::regclass::text FROM pg_class WHERE oid = '{t}'::regclass`).(string)
	change := func(sql string) {
		f.t.Helper()
		f.exec(`SET allow_system_table_mods = on`)
		f.exec(`UPDATE pg_class SET relkind = 'r' WHERE oid = '` + toast + `'::regclass`)
		f.exec(sql)
		f.exec(`UPDATE pg_class SET relkind = 't' WHERE oid = '` + toast + `'::regclass`)
	}
	f.exec(`CREATE TABLE saved AS SELECT chunk_id, chunk_seq, chunk_data FROM ` + toast)
	change(`DELETE FROM ` + toast)
	// Until then the server finds them. A vacuum passes over what another session may see
	// or has in use.
	eventually(f.t, "the values are gone", func() bool {
		f.exec(`VACUUM ` + toast)
		return f.value(`SELECT pg_relation_size($1::text::regclass)`, toast) == int64(0)
	})
	return func() { change(`INSERT INTO ` + toast + ` SELECT * FROM saved`) }
}

// A failure that may pass is no reason to give a row up: it is tried again, and what
// stands behind it waits.
func TestRowThatCannotBeReadForAMomentIsNotDead(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.exec(`ALTER TABLE {t} ALTER payload SET STORAGE EXTERNAL`)
	f.exec(`INSERT INTO {t} (topic, key, payload) SELECT 't', CASE WHEN n < 3 THEN 'k' || n END, to_json(repeat('x', CASE WHEN n = 2 THEN 100000 ELSE 1 END))
		FROM generate_series(1, 3) AS n`)
	restore := f.hideToast()
	_, s := f.lead()
	for range 2 {
		rows := f.readPass(s)
		if len(rows) != 3 || rows[0].Payload == nil || rows[2].Payload == nil {
			t.Fatalf("%d rows", len(rows))
		}
		if r := rows[1]; r.Defect != nil || r.Wait <= 0 || r.Key != "k2" || r.Payload != nil {
			t.Errorf("the row that cannot be read: key %s, %d bytes, waits %s, defect %v", r.Key, len(r.Payload), r.Wait, r.Defect)
		}
	}
	restore()
	if r := f.readPass(s)[1]; r.Wait != 0 || len(r.Payload) != 100_002 {
		t.Errorf("once it can be read: %d bytes, waits %s, defect %v", len(r.Payload), r.Wait, r.Defect)
	}
}

// What the server fails on for good keeps its key, so that the rows behind it wait
// until it is dead.
func TestUnreadableRowKeepsItsKey(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{payload: "text", database: "ENCODING WIN1252 LOCALE 'C'"})
	f.exec(`SET client_encoding = 'UTF8'`)
	f.exec(`INSERT INTO {t} (topic, key, payload) VALUES ('t', 'small', chr(129)), ('t', 'large', repeat(md5('1'), 500) || chr(129)),
		('t', 'bad' || chr(129), '1'), ('t', 'small', '1')`)
	_, s := f.lead()
	var got []string
	for _, r := range f.readPass(s) {
		if (r.Defect != nil) != (r.ID < 4) {
			t.Errorf("row %d: defect %v", r.ID, r.Defect)
		}
		got = append(got, r.Key)
	}
	if text := strings.Join(got, ","); text != "small,large,,small" {
		t.Errorf("the keys are %s", text)
	}
}

// To leave keys out the server has to look at each row's key, and it cannot look at
// one that has no UTF-8: that row is a defect, and rows of other keys come. (Rule 22.)
func TestKeyThatCannotBeComparedIsTheDefectOfItsRow(t *testing.T) {
	t.Parallel()
	for _, encoding := range []string{"WIN1252", "LATIN1", "SQL_ASCII"} {
		f := setup(t, shape{database: "ENCODING " + encoding + " LOCALE 'C'"})
		f.exec(`SET client_encoding = 'UTF8'`)
		f.exec(`INSERT INTO {t} (topic, key, payload) SELECT 't', CASE WHEN n % 4 = 0 THEN 'free' ELSE 'held' END, '1' FROM generate_series(1, 50) AS n`)
		f.exec(`INSERT INTO {t} (topic, key, payload) VALUES ('t', repeat('k', 100) || chr(129), '1')`)
		f.exec(`INSERT INTO {t} (topic, key, payload) SELECT 't', CASE WHEN n % 4 = 0 THEN 'free' ELSE 'held' END, '1' FROM generate_series(1, 50) AS n`)
		_, s := f.lead()
		read := func(change func(*relay.ChunkRequest)) (defects, others int, keys map[string]int) {
			req := request(f.begin(s))
			req.Rows = 10
			change(&req)
			keys = map[string]int{}
			for _, r := range f.drain(s, req) {
				switch {
				case r.Defect != nil:
					defects++
				case r.ID == 51:
					others++
				default:
					keys[r.Key]++
				}
			}
			return defects, others, keys
		}
		// Of these encodings only WIN1252 has a character that UTF-8 lacks.
		defects, others, keys := read(func(r *relay.ChunkRequest) { r.ExcludeKeys = []string{"held"} })
		if (defects == 1) != (encoding == "WIN1252") || defects+others != 1 || len(keys) != 1 || keys["free"] != 24 {
			t.Errorf("%s: beside a held key %d defects, rows %v", encoding, defects, keys)
		}
		key := "held"
		if defects, others, keys := read(func(r *relay.ChunkRequest) { r.OnlyKey = &key }); defects+others != 0 || len(keys) != 1 || keys["held"] != 76 {
			t.Errorf("%s: of one key %d defects, rows %v", encoding, defects, keys)
		}
	}
}
