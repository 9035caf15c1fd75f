package admin

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

func TestHistoryHoldsAQuarterOfAnHourAndNoMore(t *testing.T) {
	var h history
	if text, err := json.Marshal(h.series()); err != nil || strings.Contains(string(text), "null") {
		t.Errorf("before the first sample: %s, %v", text, err)
	}
	at := time.Unix(1_800_000_000, 0)
	upTo, counts := []float64{0.001, 0.01}, []uint64{0, 0, 0}
	for n := range 3 * maxSamples {
		counts = slices.Clone(counts)
		counts[1] += 100
		h.add(moment{at: at, status: relay.Status{Counters: relay.Counters{Published: uint64(50 * n)}}, upTo: upTo, delivered: counts})
		at = at.Add(sampleEvery)
	}
	got := h.series()
	last := len(got.At) - 1
	if len(got.At) != maxSamples || got.At[last]-got.At[0] != 15*60-5 || cap(h.samples) > 4*maxSamples {
		t.Errorf("%d samples over %d s", len(got.At), got.At[last]-got.At[0])
	}
	if got.PerSecond[last] != 10 || math.Abs(float64(got.Median[last])-0.0055) > 1e-9 || !math.IsNaN(float64(got.Pending[last])) {
		t.Errorf("%v a second, p50 %v, pending %v", got.PerSecond[last], got.Median[last], got.Pending[last])
	}
	h.add(moment{at: at, status: relay.Status{SinkStatus: relay.SinkStatus{SinkDown: "x"}, Counters: relay.Counters{Published: 1}}, delivered: counts, upTo: upTo})
	got = h.series()
	if got.BrokerAway[last] != 1 || got.Table[last] != 0 || !math.IsNaN(float64(got.PerSecond[last])) || !math.IsNaN(float64(got.Slowest[last])) {
		t.Errorf("broker away: %+v", h.samples[last])
	}
	if text, err := json.Marshal(got); err != nil || !strings.Contains(string(text), "null") || len(text) > 32<<10 {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}

func TestQuantilesLieWithinTheirBuckets(t *testing.T) {
	upTo := []float64{1, 2, 4}
	for _, c := range []struct {
		counts []uint64
		part   float64
		want   float64
	}{
		{[]uint64{10, 0, 0, 0}, 0.5, 0.5},
		{[]uint64{0, 10, 0, 0}, 0.5, 1.5},
		{[]uint64{5, 0, 5, 0}, 0.99, 3.96},
		{[]uint64{0, 0, 0, 3}, 0.5, 4},
	} {
		if got := quantile(upTo, c.counts, c.part); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%v of %v: %v, want %v", c.part, c.counts, got, c.want)
		}
	}
	if got := quantile(upTo, make([]uint64, 4), 0.5); !math.IsNaN(got) {
		t.Errorf("of nothing: %v", got)
	}
}

func TestStateAndTroubleAreSentences(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	counted := func(due, dead int64) relay.Census {
		return relay.Census{At: now, TableStats: relay.TableStats{Due: relay.Count{Rows: due}, Dead: relay.Count{Rows: dead}, OldestAge: 3 * time.Millisecond}}
	}
	for _, c := range []struct {
		scene
		state, trouble string
	}{
		{scene{status: relay.Status{Mode: relay.Tailing}, perSecond: 812, census: counted(2, 0)}, "Tailing. 812 messages a second, 2 rows wait, the oldest for 3 ms.", ""},
		{scene{status: relay.Status{Mode: relay.Tailing}, census: counted(0, 0)}, "Tailing. No messages now, no row waits.", ""},
		{scene{status: relay.Status{Mode: relay.Polling}, perSecond: 0.24}, "Polling. 0.2 messages a second.", ""},
		{
			scene{status: relay.Status{Mode: relay.StandingBy}, census: relay.Census{Members: []relay.Member{{Name: "app-1", Leads: true, Relay: true}}}},
			"Standing by. The relay on app-1 leads.", "",
		},
		{
			scene{status: relay.Status{Mode: relay.Polling, SinkStatus: relay.SinkStatus{SinkDown: "refused", SinkDownSince: ago(42 * time.Second)}}, census: counted(18204, 0)},
			"Polling. No messages now, 18,204 rows wait, the oldest for 3 ms.",
			"RabbitMQ has taken no messages for 42 s; 18,204 rows wait; nothing is lost.",
		},
		{
			scene{status: relay.Status{Mode: relay.Connecting, Since: ago(65 * time.Second), Reason: "refused"}},
			"Connecting to the database.",
			"The relay has had no session with the database for 1 min 5 s; rows wait in the table; nothing is lost.",
		},
		{scene{status: relay.Status{Mode: relay.Tailing}, census: counted(0, 1)}, "Tailing. No messages now, no row waits.", "1 row is dead, and waits for a person."},
		{
			scene{status: relay.Status{Mode: relay.Tailing, TableStatus: relay.TableStatus{Unmarkable: 3}}},
			"Tailing. No messages now.",
			"3 rows cannot be marked: PostgreSQL refuses it; the others go on.",
		},
		{
			scene{status: relay.Status{Mode: relay.Tailing, TableStatus: relay.TableStatus{TableDown: "disk full", TableDownSince: ago(26 * time.Hour)}}},
			"Tailing. No messages now.",
			"No row can be marked as sent, for 1 d 2 h; a row is published now and then to see whether that is over; nothing is lost.",
		},
		{
			scene{status: relay.Status{Mode: relay.Polling, NoteStatus: relay.NoteStatus{Note: relay.Note{Pause: relay.Pause{Since: ago(time.Minute), By: "ann"}}}}, census: counted(2, 0)},
			"Polling. No messages now, 2 rows wait, the oldest for 3 ms.", "Paused for 1 min; 2 rows wait; nothing is lost.",
		},
		{
			scene{status: relay.Status{Mode: relay.Connecting, Since: ago(time.Hour), NoteStatus: relay.NoteStatus{Foreign: "belongs to production"}}},
			"Connecting to the database.", "The table belongs to another environment: nothing of it is published.",
		},
		{
			scene{status: relay.Status{Mode: relay.Tailing, NoteStatus: relay.NoteStatus{Note: relay.Note{Doubt: "noted elsewhere"}}}},
			"Tailing. No messages now.", "The table may be a copy.",
		},
	} {
		c.now, c.broker = now, "RabbitMQ"
		if got := c.scene.state(); got != c.state {
			t.Errorf("state:\n got %s\nwant %s", got, c.state)
		}
		troubles := c.troubles()
		switch {
		case c.trouble == "" && len(troubles) > 0:
			t.Errorf("%s: %v", c.state, troubles)
		case c.trouble != "" && (len(troubles) == 0 || troubles[0].Text != c.trouble):
			t.Errorf("trouble:\n got %v\nwant %s", troubles, c.trouble)
		}
	}
}

// However many ask, one snapshot is made, and who has it is told that nothing is new.
func TestSnapshotIsMadeOnceAndHasAnETag(t *testing.T) {
	var made atomic.Int32
	cache := &snapshots{}
	now := time.Now()
	fresh := func() snapshot { made.Add(1); return snapshot{State: "x"} }
	for range 10 {
		if _, err := cache.get(caller{near: true}, now, fresh); err != nil {
			t.Fatal(err)
		}
	}
	if n := made.Load(); n != 1 {
		t.Errorf("made %d times", n)
	}
	a, _ := cache.get(caller{near: true}, now.Add(cachedFor), fresh)
	b, _ := cache.get(caller{}, now.Add(cachedFor), fresh)
	if n := made.Load(); n != 3 || a.etag != b.etag {
		t.Errorf("made %d times, %s and %s", n, a.etag, b.etag)
	}
	var watched atomic.Int32
	s, _, says := serve(t, Options{Watch: func() { watched.Add(1) }}, relay.Status{Mode: relay.Tailing})
	_, h, first := request{path: pathSnapshot}.do(t, s.Address())
	etag := h.Get("ETag")
	same := request{path: pathSnapshot, header: map[string]string{"If-None-Match": etag}}
	if code, _, text := same.do(t, s.Address()); code != http.StatusNotModified || text != "" || etag == "" || watched.Load() != 2 {
		t.Errorf("%d %q, etag %s, watched %d times: %s", code, text, etag, watched.Load(), first)
	}
	says.Store(&relay.Status{Mode: relay.Polling})
	deadline := time.Now().Add(30 * time.Second)
	for {
		if code, _, text := same.do(t, s.Address()); code == http.StatusOK && strings.Contains(text, `"Polling.`) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the change is never told")
		}
	}
}

// Beyond the relay's host keys and errors need the token.
func TestSnapshotHidesKeysAndErrors(t *testing.T) {
	st := relay.Status{
		Mode: relay.Polling, Reason: "secret-reason", Turned: time.Now(),
		SinkStatus:  relay.SinkStatus{SinkDown: "secret-sink", SinkDownSince: time.Now(), LateTopics: 1, LateTopicsTold: []relay.LateTopic{{Topic: "orders", Why: "secret-why"}}},
		TableStatus: relay.TableStatus{Unmarkable: 11, UnmarkableRows: []relay.UnmarkableRow{{Ref: relay.Ref{ID: math.MaxInt64}, Error: "secret-" + strings.Repeat("x", 2*maxTold)}}},
		LoadStatus:  relay.LoadStatus{HeldKeys: 1, HeldKeysTold: []string{"secret-key"}},
	}
	census := relay.Census{At: time.Now(), Members: []relay.Member{{Name: "app-1", Leads: true}}, MembersErr: errors.New("secret-members")}
	s, _, _ := serve(t, Options{Token: fixedToken, Census: func() relay.Census { return census }}, st)
	for name, c := range map[string]struct {
		request
		secrets         int
		details, change bool
	}{
		"near":           {request{path: pathSnapshot}, 5, true, false},
		"away":           {away(pathSnapshot, ""), 0, false, false},
		"with the token": {away(pathSnapshot, token), 5, true, true},
	} {
		_, h, text := c.do(t, s.Address())
		var shot snapshot
		if err := json.Unmarshal([]byte(text), &shot); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(text, "secret-"); n != c.secrets || shot.Access.Details != c.details || shot.Access.Change != c.change || !shot.Access.TokenSet {
			t.Errorf("%s: %d secrets, %+v: %s", name, n, shot.Access, text)
		}
		if shot.Unmarkable[0].ID != "9223372036854775807" || shot.StuckMore != 10 || len(shot.Unmarkable[0].Error) > maxTold+3 || shot.Late[0].Topic != "orders" || shot.Relays[0].Name != "app-1" {
			t.Errorf("%s: %+v", name, shot)
		}
		if h.Get("Vary") != "Authorization" || h.Get("Cache-Control") != "no-cache" {
			t.Errorf("%s: %v", name, h)
		}
	}
}
