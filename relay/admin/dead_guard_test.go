package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/await"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/transcript"
	"github.com/outbox-relay/outbox-relay/relay"
)

// letters stand for a session of the database that has so many dead rows, and changes them
// when the gate is opened. That the real one changes what was previewed is shown by
// TestDeadRowsOverHTTP in e2e.
type letters struct {
	rows int64
	gate chan struct{}
	made atomic.Int32 // sessions
}

func newLetters(rows int64) *letters { return &letters{rows: rows, gate: make(chan struct{})} }

func (l *letters) open(context.Context, relay.DeadAccess) (DeadLetters, error) {
	l.made.Add(1)
	return l, nil
}

func (l *letters) List(context.Context, relay.DeadPage) ([]relay.DeadRow, int64, bool, error) {
	return nil, 0, true, nil
}

func (l *letters) Summarise(context.Context, relay.DeadPage) ([]relay.DeadGroup, int64, bool, error) {
	return []relay.DeadGroup{{Topic: "t", Rows: l.rows}}, 0, true, nil
}

func (l *letters) Replay(ctx context.Context, _ relay.DeadPage) (relay.DeadDone, error) {
	select {
	case <-l.gate:
		return relay.DeadDone{End: true, Matched: l.rows, Changed: l.rows}, nil
	case <-ctx.Done():
		return relay.DeadDone{}, ctx.Err()
	}
}

func (l *letters) Discard(ctx context.Context, p relay.DeadPage) (relay.DeadDone, error) {
	return l.Replay(ctx, p)
}

func (l *letters) Show(context.Context, []int64) ([]relay.WholeRow, error) { return nil, nil }
func (l *letters) Now() time.Time                                          { return time.Now() }
func (l *letters) Close()                                                  {}

// change asks for all dead rows to be changed.
func change(path string, count int64) request {
	return request{
		method: http.MethodPost, path: path, header: map[string]string{"Authorization": "Bearer " + token},
		body: fmt.Sprintf(`{"filter":{"until":%q},"count":%d,"all":true}`, time.Now().UTC().Format(time.RFC3339Nano), count),
	}
}

// told is what the relay says of the replay or discard.
func toldProgress(t *testing.T, s *Server) (p progress) {
	t.Helper()
	_, _, text := request{path: pathDeadDeed}.do(t, s.Address())
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return p
}

// Who may not do something does not even have the relay open a session for it.
func TestOnlyTheTokenChangesDeadRows(t *testing.T) {
	l := newLetters(3)
	close(l.gate)
	s, _, _ := serve(t, Options{Token: fixedToken, OpenDead: l.open}, relay.Status{})
	callers := map[string]map[string]string{
		"near": {}, "away": {"X-Forwarded-For": "192.0.2.1"}, "through Envoy": {"X-Forwarded-Proto": "https"},
		"wrong token": {"Authorization": "Bearer " + token + "x"}, "no scheme": {"Authorization": token},
		"another site": {"Sec-Fetch-Site": "cross-site"}, "another name": {"Host": "evil.example"},
		"token": {"Authorization": "Bearer " + token, "X-Forwarded-For": "192.0.2.1"}, "token, another site": {"Authorization": "Bearer " + token, "Sec-Fetch-Site": "cross-site"},
	}
	all := change("", l.rows).body
	for _, path := range []request{
		{path: pathDead},
		{path: pathDeadDeed},
		{path: pathDeadRow + "?id=1"},
		{method: "POST", path: pathPreview, body: "{}"},
		{method: "POST", path: pathReplay, body: all},
		{method: "POST", path: pathDiscard, body: all},
	} {
		for name, header := range callers {
			changes := path.method == "POST"
			want := http.StatusUnauthorized
			switch {
			case name == "another name":
				want = http.StatusMisdirectedRequest
			case changes && strings.HasSuffix(name, "another site"):
				want = http.StatusForbidden
			case name == "token" || name == "token, another site", name == "near" && (path.path == pathDead || path.path == pathDeadDeed):
				want = http.StatusOK
			}
			if want == http.StatusOK && path.path == pathDeadRow+"?id=1" {
				want = http.StatusNotFound
			}
			if want == http.StatusOK && (path.path == pathReplay || path.path == pathDiscard) {
				want = http.StatusAccepted
			}
			before := l.made.Load()
			path.header = header
			code, _, text := path.do(t, s.Address())
			if code != want {
				t.Errorf("%s, %s: %d %.100s, want %d", name, path.path, code, text, want)
			}
			if want >= 400 && want != http.StatusNotFound && l.made.Load() != before {
				t.Errorf("%s, %s: the table was asked", name, path.path)
			}
			await.Until(t, "what was begun has ended", func() bool { return !s.deed.told().Running })
		}
	}
}

// One runs at a time, goes on when who asked has gone and when the token is another one,
// and tells itself from the next.
func TestReplayGoesOnAloneWhateverBecomesOfItsCaller(t *testing.T) {
	l := newLetters(3)
	var now atomic.Value
	now.Store(token)
	s, _, _ := serve(t, Options{Token: func() (string, error) { return now.Load().(string), nil }, OpenDead: l.open}, relay.Status{})
	var raw bytes.Buffer
	first := change(pathReplay, l.rows)
	fmt.Fprintf(&raw, "POST %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s", pathReplay, token, len(first.body), first.body)
	conn, err := net.Dial("tcp", s.Address())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(raw.Bytes()); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "it runs", func() bool { return toldProgress(t, s).Running })
	_ = conn.Close()
	mine := toldProgress(t, s)
	for _, path := range []string{pathReplay, pathDiscard} {
		if code, _, text := change(path, l.rows).do(t, s.Address()); code != http.StatusConflict {
			t.Errorf("%s beside it: %d %s", path, code, text)
		}
	}
	now.Store("another token that is long")
	if code, _, _ := change(pathReplay, l.rows).do(t, s.Address()); code != http.StatusUnauthorized {
		t.Errorf("with the token of before: %d", code)
	}
	close(l.gate)
	await.Until(t, "it has ended", func() bool { return !toldProgress(t, s).Running })
	if p := toldProgress(t, s); p.Changed != l.rows || p.Error != "" || p.Action != "replay" || !p.BeganAt.Equal(*mine.BeganAt) {
		t.Errorf("%+v", p)
	}
	now.Store(token)
	_, _, text := change(pathDiscard, l.rows).do(t, s.Address())
	var next progress
	if err := json.Unmarshal([]byte(text), &next); err != nil || next.Action != "discard" || next.BeganAt == nil || next.BeganAt.Equal(*mine.BeganAt) {
		t.Errorf("the next one: %v %s", err, text)
	}
	// What is previewed has to be what there is.
	await.Until(t, "that has ended too", func() bool { return !toldProgress(t, s).Running })
	change(pathReplay, l.rows+1).do(t, s.Address())
	await.Until(t, "and the third", func() bool { return !toldProgress(t, s).Running })
	if p := toldProgress(t, s); p.Changed != 0 || !strings.Contains(p.Error, "nothing was changed: the filter takes 3 rows now, and took 4") {
		t.Errorf("not as previewed: %+v", p)
	}
}

// A caller who sends slowly, or much, keeps nobody from a change.
func TestSlowAndLargeBodiesTakeNobodysPlace(t *testing.T) {
	l := newLetters(3)
	close(l.gate)
	s, _, _ := serve(t, Options{Token: fixedToken, OpenDead: l.open}, relay.Status{})
	slow, err := net.Dial("tcp", s.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	fmt.Fprintf(slow, "POST %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Length: 1000\r\n\r\n{", pathReplay, token)
	if code, _, text := change(pathReplay, l.rows).do(t, s.Address()); code != http.StatusAccepted {
		t.Errorf("beside the slow one: %d %s", code, text)
	}
	_ = slow.SetReadDeadline(time.Now().Add(time.Minute))
	if answer, err := io.ReadAll(slow); errors.Is(err, os.ErrDeadlineExceeded) || strings.Contains(string(answer), " 202 ") {
		t.Errorf("the slow one: %q, %v", answer, err)
	}
	ids := strings.Repeat("1234567890123456789,", 1000)
	for _, path := range []string{pathPreview, pathReplay} {
		large := change(path, 1)
		if large.body = fmt.Sprintf(`{"id":%q}`, ids); path == pathReplay {
			large.body = fmt.Sprintf(`{"filter":%s}`, large.body)
		}
		if code, _, text := large.do(t, s.Address()); code != http.StatusRequestEntityTooLarge || !strings.Contains(text, "more than 16 KiB") {
			t.Errorf("%s with a large filter: %d %s", path, code, text)
		}
	}
}

// Whoever reaches the address cannot fill the log.
func TestTokenThatCannotBeReadIsLoggedNowAndThen(t *testing.T) {
	var log transcript.Text
	s, _, _ := serve(t, Options{Token: func() (string, error) { return "", errors.New("no such file") }, Logger: loggerTo(&log)}, relay.Status{})
	began := time.Now()
	for range 20 {
		if code, _, text := away("/status", token).do(t, s.Address()); code != http.StatusServiceUnavailable || strings.Contains(text, "no such file") {
			t.Errorf("%d %s", code, text)
		}
	}
	if n, most := strings.Count(log.String(), "cannot read the admin token"), 1+int(time.Since(began)/repeatAfter); n == 0 || n > most {
		t.Errorf("logged %d times, want %d at most: %s", n, most, log.String())
	}
}
