package postgres_test

import (
	"runtime"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay"
)

// Rows that wait for their retry are read by every survey and every pass, and their
// keys are kept. Not parallel: it counts what the process allocates.
func TestLongKeysOfWaitingRowsTakeNoMemory(t *testing.T) {
	f := setup(t, shape{})
	f.exec(`INSERT INTO {t} (topic, key, payload, attempts, available_at)
		SELECT 't', n || repeat('0123456789', 40000), '1', 1, now() + interval '1 hour' FROM generate_series(1, 300) AS n`)
	f.exec(`INSERT INTO {t} (topic, key, payload) SELECT 't', n || repeat('0123456789', 40000), '2' FROM generate_series(1, 300) AS n`)
	f.exec(`INSERT INTO {t} (topic, key, payload) VALUES ('t', repeat('k', 65), '3'), ('t', 'short', '4')`)
	_, s := f.lead()
	pass := f.begin(s)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	req := request(pass)
	req.Bytes = 1 << 20
	req.Rows = 300
	waiting := f.chunk(s, req)
	if len(waiting.Rows) != 300 || waiting.Rows[0].Wait == 0 {
		t.Fatalf("%d rows, the first waits %s", len(waiting.Rows), waiting.Rows[0].Wait)
	}
	for _, r := range waiting.Rows {
		if name := r.KeyName(); len(name) > 100 || name != r.Key || r.Topic != "" {
			t.Fatalf("row %d has the key %.100q", r.ID, r.Key)
		}
		req.ExcludeKeys = append(req.ExcludeKeys, r.KeyName())
	}
	req.Rows = 1000
	survey, err := s.Survey(t.Context(), req)
	if err != nil || !survey.Complete {
		t.Fatal(survey.Complete, err)
	}
	rest := survey.Rows
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 4<<20 {
		t.Errorf("%d bytes were allocated", used)
	}
	if len(rest) != 2 || rest[0].Key != strings.Repeat("k", 65) || rest[1].Key != "short" {
		t.Fatalf("%d rows beside those of the keys that wait", len(rest))
	}
	// A key is read by its name.
	name := relay.KeyName("7" + strings.Repeat("0123456789", 40000))
	one := request(pass)
	one.OnlyKey = &name
	rows := f.drain(s, one)
	if len(rows) != 2 || rows[0].Wait == 0 || len(rows[1].Key) != 400_001 || rows[1].KeyName() != rows[0].KeyName() {
		t.Errorf("%d rows of the key", len(rows))
	}
}

// The server and the relay have one name for a key, in every encoding.
func TestKeyHasOneName(t *testing.T) {
	t.Parallel()
	for _, encoding := range []string{"UTF8", "LATIN1", "SQL_ASCII"} {
		f := setup(t, shape{database: "ENCODING " + encoding + " LOCALE 'C'"})
		f.exec(`SET client_encoding = 'UTF8'`)
		keys := []string{
			"", strings.Repeat("k", 64), strings.Repeat("k", 65), strings.Repeat("é", 32), strings.Repeat("é", 33),
			"sha256:" + strings.Repeat("a", 64), "sha256:" + strings.Repeat("a", 63), "sha256-" + strings.Repeat("a", 64),
		}
		for _, key := range keys {
			f.exec(`INSERT INTO {t} (topic, key, payload, attempts, available_at) VALUES ('t', $1, '1', 1, 'infinity')`, key)
		}
		_, s := f.lead()
		for i, r := range f.readPass(s) {
			if want := relay.KeyName(keys[i]); r.Key != want || relay.KeyName(want) != want {
				t.Errorf("%s: key %q is named %q by the server, %q here", encoding, keys[i], r.Key, want)
			}
		}
	}
}
