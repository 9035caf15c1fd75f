package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/transcript"
	"github.com/outbox-relay/outbox-relay/relay"
)

const token = "a token of sixteen"

// request is one over a connection of its own. Header Host is the Host.
type request struct {
	method, path, body string
	header             map[string]string
}

func (r request) do(t *testing.T, address string) (int, http.Header, string) {
	t.Helper()
	method := r.method
	if method == "" {
		method = http.MethodGet
	}
	q, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+r.path, strings.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range r.header {
		if name == "Host" {
			q.Host = value
			continue
		}
		q.Header.Set(name, value)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	answer, err := client.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, answer.Header, string(text)
}

func fixedToken() (string, error) { return token, nil }

// away makes a request that comes through a proxy, so not from the relay's own host.
func away(path, bearer string) request {
	r := request{path: path, header: map[string]string{"X-Forwarded-For": "192.0.2.1"}}
	if bearer != "" {
		r.header["Authorization"] = "Bearer " + bearer
	}
	return r
}

// A page of another site may have its name resolve to the relay's address: no such name
// is answered. Addresses are, and what containers and pods are called.
func TestRequestForAnotherNameIsRefused(t *testing.T) {
	s, _, _ := serve(t, Options{Host: "pod-1", Hosts: "relay.example.com,*.shop.example"}, relay.Status{Turned: time.Now()})
	for host, want := range map[string]int{
		s.Address(): 200, "localhost": 200, "LOCALHOST.:80": 200, "relay.localhost": 200, "[::1]:9464": 200, "::1": 200, "10.1.2.3:9464": 200, "pod-1": 200,
		"relay.example.com": 200, "a.b.shop.example:9464": 200,
		"evil.example": 421, "localhost.evil.example": 421, "127.0.0.1.evil.example:9464": 421, "shop.example": 421, "xshop.example": 421, "relay": 421,
		"relay.svc": 421, "1.2.3": 421,
	} {
		for _, path := range []string{"/livez", "/status", "/nothing"} {
			code, _, text := request{path: path, header: map[string]string{"Host": host}}.do(t, s.Address())
			if want == 421 && (code != want || !strings.Contains(text, "OUTBOX_HTTP_NAMES")) || want == 200 && code == 421 {
				t.Errorf("%s for %s: %d %s, want %d", path, host, code, text, want)
			}
		}
	}
	network := newAllowedHosts(":9464", "[::]:9464", "pod-1", "")
	for host, want := range map[string]bool{
		"relay:9464": true, "relay.shop.svc": true, "relay.shop.svc.cluster.local:9464": true, "host.docker.internal": true, "10.0.0.1": true, "": true,
		"evil.example": false, "cluster.local.example": false, "xsvc.example": false,
	} {
		if got := network.allow(host); got != want {
			t.Errorf("beyond loopback, %q: %v", host, got)
		}
	}
}

func TestEveryAnswerTellsTheBrowserToTrustNothingElse(t *testing.T) {
	s, _, _ := serve(t, Options{}, relay.Status{})
	for _, r := range []request{{path: "/livez"}, {path: "/status"}, {path: "/none"}, {path: "/livez", method: "POST"}, {path: "/livez", header: map[string]string{"Host": "evil.example"}}} {
		_, h, _ := r.do(t, s.Address())
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'self'; ", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Resource-Policy": "same-origin", "X-Frame-Options": "DENY", "Cache-Control": "no-store",
		} {
			if !strings.HasPrefix(h.Get(name), want) {
				t.Errorf("%+v: %s is %q", r, name, h.Get(name))
			}
		}
		if csp := h.Get("Content-Security-Policy"); !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%+v: %s", r, csp)
		}
	}
}

// Beyond the relay's own host errors need the token; a wrong one is refused, and logged.
func TestErrorsAreTold(t *testing.T) {
	var log transcript.Text
	st := relay.Status{
		Mode: relay.Connecting, Since: time.Now(), Turned: time.Now(), Reason: "password of secret-login",
		StallStatus: relay.StallStatus{Stalled: "secret-stall", StalledSince: time.Now()},
		SinkStatus:  relay.SinkStatus{SinkDown: "secret-broker", LateTopicsTold: []relay.LateTopic{{Topic: "orders", Why: "secret-late"}}},
		TableStatus: relay.TableStatus{TableDown: "secret-table", UnmarkableRows: []relay.UnmarkableRow{{Error: "secret-row"}}},
		PurgeStatus: relay.PurgeStatus{NotPurged: "secret-purge"},
		NoteStatus:  relay.NoteStatus{Foreign: "secret-foreign", Note: relay.Note{Doubt: "secret-doubt", Pause: relay.Pause{Since: time.Now(), By: "secret-user", Reason: "secret-pause"}}},
	}
	census := relay.Census{At: time.Now(), Err: errors.New("secret-census"), TableStats: relay.TableStats{Partitions: "secret-partitions"}}
	s, _, _ := serve(t, Options{Token: fixedToken, Logger: loggerTo(&log), Census: func() relay.Census { return census }}, st)
	const secrets = 14
	for name, c := range map[string]struct {
		request
		code, secrets int
	}{
		"near":                 {request{path: "/status"}, 200, secrets},
		"near, by its address": {request{path: "/status", header: map[string]string{"Host": "127.0.0.1:1"}}, 200, secrets},
		"away":                 {away("/status", ""), 200, 0},
		"away, with the token": {away("/status", token), 200, secrets},
		"away, a wrong token":  {away("/status", token+"x"), 401, 0},
		"another name":         {request{path: "/status", header: map[string]string{"Host": "10.1.1.1"}}, 200, 0},
		"Forwarded":            {request{path: "/status", header: map[string]string{"Forwarded": "for=x"}}, 200, 0},
		"Envoy":                {request{path: "/status", header: map[string]string{"X-Forwarded-Proto": "http"}}, 200, 0},
		"a page, same origin":  {request{path: "/status", header: map[string]string{"Sec-Fetch-Site": "same-origin"}}, 200, secrets},
		"a page, another site": {request{path: "/status", header: map[string]string{"Sec-Fetch-Site": "cross-site"}}, 200, 0},
		"a page, another port": {request{path: "/status", header: map[string]string{"Sec-Fetch-Site": "same-site"}}, 200, 0},
		"basic":                {request{path: "/status", header: map[string]string{"Authorization": "Basic " + token}}, 401, 0},
		"probe, near":          {request{path: "/readyz"}, 503, 1},
		"probe, away":          {away("/readyz", ""), 503, 0},
		"probe, wrong token":   {away("/livez", "x"), 200, 0},
	} {
		code, _, text := c.do(t, s.Address())
		if n := strings.Count(text, "secret-"); code != c.code || n != c.secrets {
			t.Errorf("%s: %d with %d secrets, want %d with %d: %s", name, code, n, c.code, c.secrets, text)
		}
	}
	_, _, text := away("/status", "").do(t, s.Address())
	var r Report
	if err := json.Unmarshal([]byte(text), &r); err != nil || r.Stalled == "" || r.SinkDown == "" || len(r.Late) != 1 || r.Late[0].Topic != "orders" {
		t.Errorf("%v: %s", err, text)
	}
	if st.UnmarkableRows[0].Error != "secret-row" || st.LateTopicsTold[0].Why != "secret-late" {
		t.Error("the relay's own status was changed")
	}
	if got := log.String(); !strings.Contains(got, "a wrong admin token was given") || strings.Contains(got, token) {
		t.Errorf("log: %s", got)
	}
}

func loggerTo(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

func TestTokenIsReadAgainAndItsAbsenceMeansReadOnly(t *testing.T) {
	var mu sync.Mutex
	now, failing := token, error(nil)
	s, _, _ := serve(t, Options{Token: func() (string, error) {
		mu.Lock()
		defer mu.Unlock()
		return now, failing
	}}, relay.Status{})
	profile := func(bearer string) int {
		code, _, _ := away("/debug/pprof/cmdline", bearer).do(t, s.Address())
		return code
	}
	if a, b, c := profile(token), profile(""), profile("other"); a != 200 || b != 401 || c != 401 {
		t.Errorf("right %d, none %d, wrong %d", a, b, c)
	}
	mu.Lock()
	now = "another token that is long"
	mu.Unlock()
	if a, b := profile(token), profile("another token that is long"); a != 401 || b != 200 {
		t.Errorf("rotated: old %d, new %d", a, b)
	}
	mu.Lock()
	now, failing = "", errors.New("no such file")
	mu.Unlock()
	if a, b := profile(""), profile(token); a != 401 || b != 503 {
		t.Errorf("unreadable: none %d, old %d", a, b)
	}
	mu.Lock()
	failing = nil // an empty token is none
	mu.Unlock()
	if a := profile(" "); a != 401 {
		t.Errorf("empty: %d", a)
	}
	none, _, _ := serve(t, Options{}, relay.Status{})
	for _, bearer := range []string{"", token} {
		if code, _, text := away("/debug/pprof/", bearer).do(t, none.Address()); code != 403 || !strings.Contains(text, "OUTBOX_ADMIN_TOKEN is not set") {
			t.Errorf("no token set, %q given: %d %s", bearer, code, text)
		}
	}
}

func TestProfilesNeedTheTokenAlsoNearby(t *testing.T) {
	s, _, _ := serve(t, Options{Token: fixedToken}, relay.Status{})
	authorized := map[string]string{"Authorization": "Bearer " + token}
	for path, want := range map[string]int{
		"/debug/pprof/": 200, "/debug/pprof/heap": 200, "/debug/pprof/goroutine?debug=1": 200, "/debug/pprof/profile?seconds=1": 200,
		"/debug/pprof/profile?seconds=61": 400, "/debug/pprof/trace?seconds=-1": 400, "/debug/pprof/trace?seconds=NaN": 400, "/debug/pprof/none": 404,
	} {
		if code, _, text := (request{path: path, header: authorized}).do(t, s.Address()); code != want {
			t.Errorf("%s: %d %.80s, want %d", path, code, text, want)
		}
		if code, _, _ := (request{path: path}).do(t, s.Address()); code != 401 && code != 404 {
			t.Errorf("%s without the token: %d", path, code)
		}
	}
}

func TestOversizedRequestsAreRefused(t *testing.T) {
	s, _, _ := serve(t, Options{}, relay.Status{Turned: time.Now()})
	for name, r := range map[string]request{
		"header": {path: "/livez", header: map[string]string{"X-Large": strings.Repeat("x", 2*maxHeader)}},
		"path":   {path: "/livez?" + strings.Repeat("x", 2*maxHeader)},
	} {
		if code, _, _ := r.do(t, s.Address()); code != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("%s: %d", name, code)
		}
	}
}

// Peers that open connections and say next to nothing are cut off, and beyond a number
// of them the oldest at once: a probe is answered meanwhile.
func TestSlowPeersAreCutOffAndProbesAnswered(t *testing.T) {
	s, client, _ := serve(t, Options{}, relay.Status{Turned: time.Now()})
	var slow []net.Conn
	for n := range 2 * maxConnections {
		conn, err := net.Dial("tcp", s.Address())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		slow = append(slow, conn)
		// Some have begun a request, and go on with it slowly.
		if n%2 == 0 {
			_, _ = io.WriteString(conn, "GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := client.Live(ctx); err != nil {
		t.Error("a probe:", err)
	}
	s.connections.mu.Lock()
	held := len(s.connections.since)
	s.connections.mu.Unlock()
	if held > maxConnections {
		t.Errorf("%d connections are held", held)
	}
	for n, conn := range slow {
		_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
		// 408 to those that have begun, nothing to the others.
		if _, err := io.Copy(io.Discard, conn); err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("connection %d is still open: %v", n, err)
		}
	}
}

// What is changed is changed by no page of another site, whatever it knows.
func TestOtherSitesMayNotPost(t *testing.T) {
	s, _, _ := serve(t, Options{Token: fixedToken}, relay.Status{})
	h := s.guard(routes{"/change": {http.MethodPost, bearer, func(w http.ResponseWriter, _ *http.Request, _ caller) { w.WriteHeader(200) }}})
	for name, c := range map[string]struct {
		header map[string]string
		want   int
	}{
		"no browser":   {nil, 200},
		"same origin":  {map[string]string{"Sec-Fetch-Site": "same-origin"}, 200},
		"cross-site":   {map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		"same site":    {map[string]string{"Sec-Fetch-Site": "same-site"}, 403},
		"other origin": {map[string]string{"Origin": "http://evil.example"}, 403},
	} {
		r := httptest.NewRequest(http.MethodPost, "http://localhost/change", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		for k, v := range c.header {
			r.Header.Set(k, v)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.want {
			t.Errorf("%s: %d, want %d", name, w.Code, c.want)
		}
	}
}

// FuzzHandler gives the handler whatever net/http lets through.
func FuzzHandler(f *testing.F) {
	for _, line := range []string{
		"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "POST /api/dead/replay HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}",
		"GET http://127.0.0.1/status HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x\r\n\r\n", "GET /debug/pprof/heap?seconds=1e9 HTTP/1.0\r\n\r\n",
		"GET /livez HTTP/1.1\r\nHost: [::1%25x]:y\r\nX-Forwarded-For: <b>\r\n\r\n", "GET /api/dead?id=1&after=x HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
	} {
		f.Add(line)
	}
	st := relay.Status{Mode: relay.Tailing, Turned: time.Now()}
	s := &Server{options: Options{Status: func() relay.Status { return st }, Token: fixedToken, Logger: loggerTo(&transcript.Text{})}, started: time.Now()}
	s.hosts = newAllowedHosts("127.0.0.1:9464", "127.0.0.1:9464", "pod-1", "")
	h := s.handler()
	f.Fuzz(func(t *testing.T, raw string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
		if err != nil {
			return
		}
		r.RemoteAddr = "192.0.2.1:1"
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Header().Get("Content-Security-Policy") == "" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%q: %v", raw, w.Header())
		}
		if w.Code >= 500 && w.Code != http.StatusServiceUnavailable {
			t.Errorf("%q: %d", raw, w.Code)
		}
		name := hostOf(r.Host)
		if w.Code != http.StatusMisdirectedRequest && name != "" && name != "pod-1" && !isLoopback(r.Host) && !strings.Contains(name, ":") && net.ParseIP(name) == nil {
			t.Errorf("answered for %q: %d", r.Host, w.Code)
		}
		if _, err := url.ParseRequestURI(r.RequestURI); err == nil && w.Code == http.StatusOK && strings.HasPrefix(r.URL.Path, pathProfiles) && r.Header.Get("Authorization") != "Bearer "+token {
			t.Errorf("%q was given a profile", raw)
		}
	})
}
