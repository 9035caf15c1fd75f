package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/outbox-relay/outbox-relay/relay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// said is what the relay of a test says.
type said struct{ atomic.Pointer[relay.Status] }

func (s *said) get() relay.Status { return *s.Load() }

func serve(t *testing.T, o Options, st relay.Status) (*Server, *Client, *said) {
	t.Helper()
	says := &said{}
	says.Store(&st)
	o.Status = says.get
	s, err := Listen(t.Context(), "127.0.0.1:0", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	c, err := NewClient(s.Address())
	if err != nil {
		t.Fatal(err)
	}
	return s, c, says
}

func TestReadinessFollowsTheDatabaseAndNeverTheBrokerOrLeadership(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		name   string
		status relay.Status
		strict bool
		want   string // of the reason; empty: ready
	}{
		{name: "standby", status: relay.Status{Mode: relay.StandingBy}},
		{name: "standby of a strict one", status: relay.Status{Mode: relay.StandingBy}, strict: true},
		{name: "polling", status: relay.Status{Mode: relay.Polling, Reason: "wal_level"}},
		{name: "tailing", status: relay.Status{Mode: relay.Tailing}, strict: true},
		{name: "broker down", status: relay.Status{Mode: relay.Polling, SinkStatus: relay.SinkStatus{SinkDown: "connection refused", SinkDownSince: now}}},
		{
			name: "broker takes nothing for long", status: relay.Status{
				Mode:        relay.Polling,
				StallStatus: relay.StallStatus{Stalled: "the broker takes no messages", StalledSince: now.Add(-time.Hour)},
				SinkStatus:  relay.SinkStatus{SinkDown: "refused", SinkDownSince: now},
			},
		},
		{
			name: "own stall", status: relay.Status{
				Mode:        relay.Tailing,
				StallStatus: relay.StallStatus{Stalled: "no row can be marked: disk\nfull", StalledSince: now.Add(-31 * time.Second), StalledHere: true},
			},
			want: "no progress for 31s: no row can be marked: disk full",
		},
		{
			name: "no database", status: relay.Status{Mode: relay.Connecting, Since: now.Add(-2 * time.Minute), Reason: "connection\nrefused"},
			want: "no session with the database for 2m0s: connection refused",
		},
		{
			name: "standby of a stranger", status: relay.Status{Mode: relay.StandingBy, NoRelayLeads: true, Reason: "pid 1"},
			want: "no relay leads: pid 1",
		},
		{
			name: "polling of a strict one", status: relay.Status{Mode: relay.Polling, Reason: `wal_level is "replica"`}, strict: true,
			want: `the leader has to poll, and OUTBOX_MODE is replication: wal_level is "replica"`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.status.Turned = time.Now()
			_, client, _ := serve(t, Options{NeedsTail: c.strict}, c.status)
			if line, err := client.Live(t.Context()); err != nil || line != c.status.Mode.String() {
				t.Errorf("live: %q, %v", line, err)
			}
			line, err := client.Ready(t.Context())
			switch {
			case c.want == "" && (err != nil || line != c.status.Mode.String()):
				t.Errorf("ready: %q, %v", line, err)
			case c.want != "" && (!errors.Is(err, ErrNotOK) || err.Error() != "not ok: "+c.want):
				t.Errorf("ready: %q, %v; want %q", line, err, c.want)
			}
		})
	}
}

func TestRelayThatHangsIsNeitherLiveNorReadyInAnyMode(t *testing.T) {
	for _, mode := range []relay.Mode{relay.Connecting, relay.StandingBy, relay.Polling, relay.Tailing} {
		s, client, _ := serve(t, Options{}, relay.Status{Mode: mode})
		if _, err := client.Live(t.Context()); err != nil {
			t.Errorf("%v, before its first turn: %v", mode, err)
		}
		began := time.Now()
		status := relay.Status{Mode: mode, Since: began, Turned: began}
		for after, hung := range map[time.Duration]bool{hangs - time.Second: false, hangs + time.Second: true} {
			now := began.Add(after)
			if live, ready := s.notLive(status, now), s.notReady(status, now); (live != "") != hung || hung && ready != live {
				t.Errorf("%v, %v after its last turn: not live %q, not ready %q", mode, after, live, ready)
			}
		}
		// One that never turned at all hangs too.
		if why := s.notLive(relay.Status{Mode: mode}, s.started.Add(hangs+time.Second)); why == "" {
			t.Errorf("%v: live without a single turn", mode)
		}
	}
}

func TestStatusTellsAll(t *testing.T) {
	down := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	_, client, _ := serve(t, Options{Version: "v1", Table: "public.outbox", Host: "pod-1", WantedMode: "auto"}, relay.Status{
		Mode:        relay.Polling,
		Since:       down,
		Reason:      "publication missing",
		Turned:      time.Now(),
		Counters:    relay.Counters{Published: 4, DuplicateAcks: 5, Refused: 6, Dead: 7, Reconciled: 8},
		StallStatus: relay.StallStatus{Stalled: "disk full", StalledSince: down, StalledHere: false},
		TableStatus: relay.TableStatus{TableDown: "no space", TableDownSince: down, Unmarkable: 12, UnmarkableRows: []relay.UnmarkableRow{{Ref: relay.Ref{ID: 77}, Refused: true, Since: down, Tries: 3, Error: "constraint"}}, Locked: 13, LockedSince: down, LockedBy: []relay.Blocker{{PID: 99, Application: "report"}, {Prepared: "gid"}}},
		SinkStatus:  relay.SinkStatus{SinkDown: "refused", SinkDownSince: down},
		LoadStatus:  relay.LoadStatus{InFlight: 1, Waiting: 2, HeldKeys: 3},
	})
	r, err := client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(r.Version, r.Table, r.Host, r.WantedMode, r.Mode, r.Leader, r.Since.Equal(down), r.Reason, r.Live, r.Ready,
		r.Stalled, r.StalledSince.Equal(down), r.StalledSeconds > 1, r.StalledHere, r.TableDown, r.TableDownSince.Equal(down),
		r.UnmarkableRows, r.Unmarkable[0].ID, r.Unmarkable[0].MessageID, r.Unmarkable[0].Refused, r.Unmarkable[0].Tries, r.Unmarkable[0].Error,
		r.LockedRows, r.LockedSince.Equal(down), r.LockedBy,
		r.SinkDown, r.SinkDownSince.Equal(down), r.InFlight, r.Waiting, r.HeldKeys,
		r.PublishedTotal, r.DuplicateAcksTotal, r.RefusedTotal, r.DeadTotal, r.ReconciledTotal)
	want := fmt.Sprint("v1", "public.outbox", "pod-1", "auto", "polling", true, true, "publication missing", true, true,
		"disk full", true, true, false, "no space", true,
		12, 77, relay.MessageID{}.String(), true, 3, "constraint", 13, true, []Blocker{{PID: 99, Application: "report"}, {Prepared: "gid"}},
		"refused", true, 1, 2, 3, uint64(4), uint64(5), uint64(6), uint64(7), uint64(8))
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if r.UptimeSeconds < 0 || r.ModeSeconds < 1 || r.StartedAt.IsZero() || r.TurnedAt.IsZero() {
		t.Errorf("times are %+v", r)
	}
}

func TestRowsAreThoseOfTheLastCounting(t *testing.T) {
	counted := time.Now().Add(-time.Minute).Truncate(time.Second)
	census := relay.Census{At: counted, Err: errors.New("the database is away")}
	census.Due, census.OldestAge = relay.Count{Rows: 1_000_000, Estimated: true}, 90*time.Second
	census.Dead = relay.Count{Rows: 20_000, More: true}
	_, client, _ := serve(t, Options{Census: func() relay.Census { return census }}, relay.Status{})
	r, err := client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := Rows{
		CountedAt: counted, Pending: Count{Rows: 1_000_000, Estimated: true}, Dead: Count{Rows: 20_000, More: true},
		OldestPendingAge: 90, NotCounted: "the database is away",
	}
	if r.Rows == nil || !r.Rows.CountedAt.Equal(counted) {
		t.Fatalf("rows are %+v", r.Rows)
	}
	r.Rows.CountedAt = counted
	if *r.Rows != want {
		t.Errorf("got  %+v\nwant %+v", *r.Rows, want)
	}
}

// The names are what others build on: a change of this list is a change that
// breaks them.
func TestStatusNamesAreStable(t *testing.T) {
	_, client, _ := serve(t, Options{}, relay.Status{})
	_, text, err := client.get(t.Context(), pathStatus)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		t.Fatal(err)
	}
	for name := range strings.FieldsSeq(`version table host started_at uptime_seconds mode leader since mode_seconds reason wanted_mode
		turned_at live not_live ready not_ready stalled stalled_since stalled_seconds stalled_here table_down table_down_since
		unmarkable_rows unmarkable locked_rows locked_since locked_by late_topics late sink_down sink_down_since in_flight waiting held_keys published_total
		duplicate_acks_total refused_total dead_total reconciled_total published_per_second rate_window_seconds
		rows retained_wal_bytes unread_wal_bytes
		environment database system_identifier foreign origin_doubt paused_since paused_by pause_reason
		expired_total purged_total not_purged not_purged_since`) {
		if _, ok := fields[name]; !ok {
			t.Errorf("%s is missing", name)
		}
		delete(fields, name)
	}
	if len(fields) > 0 {
		t.Errorf("beyond the list: %v", fields)
	}
	if fields["sink_down_since"] != nil {
		t.Error("a broker that was never tried is down since some time")
	}
}

// The addresses that mean every interface are asked on the host itself.
func TestClientTakesTheAddressAsTheServerDoes(t *testing.T) {
	s, err := Listen(t.Context(), ":0", Options{Status: func() relay.Status { return relay.Status{Turned: time.Now()} }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close(t.Context()) }()
	_, port, err := net.SplitHostPort(s.Address())
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"", "0.0.0.0", "127.0.0.1", "localhost"} {
		client, err := NewClient(net.JoinHostPort(host, port))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Live(t.Context()); err != nil {
			t.Errorf("%q: %v", host, err)
		}
	}
}

func TestOnlyGetAndOnlyThesePaths(t *testing.T) {
	s, _, _ := serve(t, Options{}, relay.Status{})
	for request, want := range map[string]int{
		"POST /livez": 405, "DELETE /status": 405, "GET /": 200, "GET /index.html": 404, "GET /page/": 404, "GET /debug/pprof/": 403,
		"GET //livez": 404, "GET /livez/": 404, "GET /%6civez": 404, "GET /./livez": 404, "GET /x/../livez": 404, "GET /LIVEZ": 404, "OPTIONS /livez": 405,
		"TRACE /livez": 405, "GET /livez?x=/status": 200, "GET /debug/pprof": 404, "GET /debug/pprof/heap/": 404, "GET /livez": 200, "HEAD /readyz": 503,
	} {
		method, path, _ := strings.Cut(request, " ")
		if code := requestOnce(t, s.Address(), method, path); code != want {
			t.Errorf("%s: status %d, want %d", request, code, want)
		}
	}
}

func requestOnce(t *testing.T, address, method, path string) int {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", method, path); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

func TestCloseEndsIdleConnectionsAndFreesTheAddress(t *testing.T) {
	s, client, _ := serve(t, Options{}, relay.Status{Turned: time.Now()})
	if _, err := client.Live(t.Context()); err != nil {
		t.Fatal(err)
	}
	idle, err := net.Dial("tcp", s.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	// A connection on which nothing was asked yet must not hold it up for long.
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_ = s.Close(ctx)
	if _, err := client.Live(t.Context()); err == nil {
		t.Error("it still answers")
	}
	again, err := Listen(t.Context(), s.Address(), Options{Status: func() relay.Status { return relay.Status{} }})
	if err != nil {
		t.Fatal("the address is not free:", err)
	}
	if err := again.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAddressThatIsTakenIsAnError(t *testing.T) {
	s, _, _ := serve(t, Options{}, relay.Status{})
	if _, err := Listen(t.Context(), s.Address(), Options{}); err == nil || !strings.Contains(err.Error(), s.Address()) {
		t.Errorf("error %v, want one with the address", err)
	}
}

func TestClientSaysWhatItCannotAsk(t *testing.T) {
	if _, err := NewClient("127.0.0.1:0"); err == nil || !strings.Contains(err.Error(), "has port 0") {
		t.Errorf("port 0: %v", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	other := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = other.Serve(listener)
	}()
	client, err := NewClient(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Status(t.Context()); err == nil || !strings.Contains(err.Error(), "does something else listen there?") {
		t.Errorf("another program: %v", err)
	}
	_ = other.Close()
	<-done
	if _, err := client.Ready(t.Context()); err == nil || errors.Is(err, ErrNotOK) || !strings.Contains(err.Error(), listener.Addr().String()) {
		t.Errorf("nobody: %v", err)
	}
}

func TestPausedRelayIsReady(t *testing.T) {
	_, client, _ := serve(t, Options{NeedsTail: true}, relay.Status{
		Mode: relay.Polling, Turned: time.Now(), NoteStatus: relay.NoteStatus{Note: relay.Note{Pause: relay.Pause{Since: time.Now()}}},
	})
	if said, err := client.Ready(t.Context()); err != nil || said != "polling, paused" {
		t.Errorf("%q, %v", said, err)
	}
}
