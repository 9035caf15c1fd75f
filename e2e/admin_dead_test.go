package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

const adminToken = "a-token-of-sixteen"

// api asks the relay as the page does, and returns the status and the text.
func (w *world) api(relay *relaybin.Process, method, path, token, body string) (int, string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, "http://"+relay.HTTPAddr()+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if at, away := strings.CutPrefix(r.URL.Path, "/away"); away {
		r.URL.Path = at
		r.Header.Set("X-Forwarded-For", "192.0.2.1")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer.StatusCode, strings.TrimSpace(string(text))
}

// Dead rows over HTTP: who may see them, what a change asks for, and that exactly the
// previewed rows are changed.
func TestDeadRowsOverHTTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	relay := w.relay("OUTBOX_ADMIN_TOKEN", adminToken)
	w.exec(`INSERT INTO {outbox} (topic, key, payload, attempts, dead_at, last_error, error_type)
		SELECT 'oracle.dead', 'k' || n, to_json(repeat('é', CASE WHEN n = 1 THEN 30000 ELSE 1 END)), 10, now() - interval '1 h', 'unroutable: none', CASE WHEN n <= 2500 THEN 'unroutable' ELSE 'full' END
		FROM generate_series(1, 2600) AS n`)
	for _, c := range []struct {
		method, path, token, body string
		status                    int
		part                      string
	}{
		{"GET", "/api/dead", "", "", 200, `"error":"unroutable: none"`},
		{"GET", "/away/api/dead", "", "", 401, "OUTBOX_ADMIN_TOKEN"},
		{"GET", "/away/api/dead", adminToken, "", 200, `"next":"50"`},
		{"GET", "/api/dead?type=full&topic=*.dead", "", "", 200, `"id":"2501"`},
		{"GET", "/api/dead?type=none", "", "", 200, `{"rows":[],"next":""}`},
		{"GET", "/api/dead?id=x", "", "", 400, "id: expected ids"},
		{"GET", "/api/dead?after=x", "", "", 400, "after: expected"},
		{"GET", "/api/dead?since=yesterday", "", "", 400, "since: expected a time"},
		{"GET", "/api/dead/row?id=1", "", "", 401, "Bearer"},
		{"GET", "/api/dead/row?id=999999", adminToken, "", 404, "no such row"},
		{"POST", "/api/dead/preview", "", "{}", 401, ""},
		{"POST", "/api/dead/preview", adminToken, `{"topics":"x"}`, 400, "unknown field"},
		{"POST", "/api/dead/replay", "", `{}`, 401, ""},
		{"POST", "/api/dead/replay", adminToken, `{"count":1,"all":true}`, 400, "ask for a preview first"},
		{"POST", "/api/dead/replay", adminToken, `{"filter":{"until":"2026-01-01T00:00:00Z"},"count":1}`, 400, "has to be meant"},
		{"POST", "/api/dead/replay", adminToken, `{"filter":{"until":"2026-01-01T00:00:00Z","type":"x"}}`, 400, "count: expected"},
		{"GET", "/api/dead/replay", adminToken, "", 405, ""},
		{"GET", "/api/dead/progress", "", "", 200, `"action":""`},
	} {
		if status, text := w.api(relay, c.method, c.path, c.token, c.body); status != c.status || !strings.Contains(text, c.part) {
			t.Errorf("%s %s %s: %d %.200s, want %d with %q", c.method, c.path, c.body, status, text, c.status, c.part)
		}
	}
	var whole struct {
		Payload string
		Bytes   int  `json:"payload_bytes"`
		Cut     bool `json:"payload_cut"`
	}
	_, text := w.api(relay, "GET", "/api/dead/row?id=1", adminToken, "")
	if err := json.Unmarshal([]byte(text), &whole); err != nil || len(whole.Payload) > 20<<10 || len(whole.Payload) < 20<<10-1 || !whole.Cut || whole.Bytes != 60_002 ||
		strings.ContainsRune(whole.Payload, '\uFFFD') {
		t.Errorf("the payload has %d of %d bytes: %v", len(whole.Payload), whole.Bytes, err)
	}
	w.changeOverHTTP(relay, "replay", `{"type":"unroutable"}`, 2500, 2500)
	w.await("they are sent", func() bool { return w.marked() == 2500 })
	// The relay's role may delete only where it was given that.
	w.changeOverHTTP(relay, "discard", `{"type":"full"}`, 100, 0)
	w.exec(`GRANT DELETE ON {outbox} TO ` + sqltext.Identifier(w.role))
	// What was not previewed is not changed.
	w.changeOverHTTP(relay, "discard", `{"type":"full"}`, 99, 0)
	w.changeOverHTTP(relay, "discard", `{"type":"full"}`, 100, 100)
	if n := w.count(`SELECT count(*) FROM {outbox} WHERE dead_at IS NOT NULL`); n != 0 {
		t.Errorf("%d rows are dead", n)
	}
	relay.AwaitLog(`"msg":"dead rows were changed over HTTP"`, `"action":"discard"`, `"caller":"127.0.0.1:`, `"type":"full"`, `"changed":100`)
	relay.Terminate()
}

// changeOverHTTP previews, sends a count, and awaits the end.
func (w *world) changeOverHTTP(relay *relaybin.Process, action, filter string, count, changed int) {
	w.t.Helper()
	w.beginOverHTTP(relay, action, filter, count)
	w.awaitChanged(relay, action, changed)
}

func (w *world) beginOverHTTP(relay *relaybin.Process, action, filter string, count int) {
	w.t.Helper()
	var preview struct{ Filter json.RawMessage }
	_, text := w.api(relay, "POST", "/api/dead/preview", adminToken, filter)
	if err := json.Unmarshal([]byte(text), &preview); err != nil {
		w.t.Fatalf("%v: %s", err, text)
	}
	order, err := json.Marshal(map[string]any{"filter": preview.Filter, "count": count})
	if err != nil {
		w.t.Fatal(err)
	}
	if status, text := w.api(relay, "POST", "/api/dead/"+action, adminToken, string(order)); status != 202 {
		w.t.Fatalf("%s: %d %s", action, status, text)
	}
}

func (w *world) awaitChanged(relay *relaybin.Process, action string, changed int) {
	w.t.Helper()
	var p struct {
		Running bool
		Changed int
		Error   string
	}
	w.await(action+" has ended", func() bool {
		_, text := w.api(relay, "GET", "/api/dead/progress", "", "")
		return json.Unmarshal([]byte(text), &p) == nil && !p.Running
	})
	if p.Changed != changed || (p.Error == "") != (changed > 0) {
		w.t.Errorf("%s, want %d rows changed: %+v", action, changed, p)
	}
}

// The job is the relay's that was asked, whoever leads: it goes on, and what it replays is
// delivered by the next leader.
func TestReplayOverHTTPOutlivesALeader(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	leader := w.relay("OUTBOX_ADMIN_TOKEN", adminToken)
	leader.AwaitLog("leading")
	standby := w.relay("OUTBOX_ADMIN_TOKEN", adminToken)
	standby.AwaitLog("standing by")
	const rows = 20_000
	w.exec(`INSERT INTO {outbox} (topic, payload, attempts, dead_at) SELECT 'oracle.dead', '1', 10, now() FROM generate_series(1, ` + fmt.Sprint(rows) + `)`)
	// A locked row: the replay passes it over, and says so.
	holder, err := pgtest.Connect(t, w.url).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := holder.Exec(t.Context(), w.sql(`SELECT FROM {outbox} WHERE id = (SELECT max(id) FROM {outbox}) FOR UPDATE`)); err != nil {
		t.Fatal(err)
	}
	w.beginOverHTTP(standby, "replay", `{"topic":"oracle.dead"}`, rows)
	w.await("some are replayed", func() bool { return w.count(`SELECT count(*) FROM {outbox} WHERE dead_at IS NULL`) > 0 })
	leader.Kill()
	w.awaitChanged(standby, "replay", rows-1)
	w.commit(holder)
	w.awaitDrained()
	if n := w.marked(); n != rows-1 {
		t.Errorf("%d rows are sent", n)
	}
	standby.AwaitLog(`"msg":"dead rows were changed over HTTP"`, fmt.Sprintf(`"changed":%d`, rows-1), `"left":1`)
	standby.Terminate()
}
