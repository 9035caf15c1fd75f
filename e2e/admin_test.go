package e2e_test

import (
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
	"github.com/outbox-relay/outbox-relay/relay/admin"
	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// ask runs a command of the program beside a relay, in its environment, and
// returns its exit status and its output.
func (w *world) ask(relay *relaybin.Process, args ...string) (int, string) {
	w.t.Helper()
	env := map[string]string{"OUTBOX_HTTP_ADDR": relay.HTTPAddr()}
	maps.Copy(env, w.env)
	p := relaybin.Start(w.t, relaybin.Tested, env, args...)
	return p.Wait(patience), p.Log()
}

// awaitAnswer asks until the exit status is the one wanted, and returns the output.
func (w *world) awaitAnswer(relay *relaybin.Process, status int, args ...string) (said string) {
	w.t.Helper()
	w.await(strings.Join(args, " ")+" says so", func() bool {
		var got int
		got, said = w.ask(relay, args...)
		return got == status
	})
	return said
}

func TestHealthOfLeaderAndStandbyAndWithoutBroker(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	leader := w.relay()
	leader.AwaitLog(`"msg":"leading"`)
	standby := w.relay()
	standby.AwaitLog("standing by")
	if got := w.awaitAnswer(standby, 0, "health", "--ready"); got != "standby" {
		t.Errorf("the standby says %q", got)
	}
	w.awaitAnswer(leader, 0, "health", "--ready")
	// A broker that is down takes nobody out of service.
	if err := w.broker.Kill(); err != nil {
		t.Fatal(err)
	}
	w.insert(plain(1))
	leader.AwaitLog(`"msg":"the broker takes no messages"`)
	for _, relay := range []*relaybin.Process{leader, standby} {
		if status, said := w.ask(relay, "health", "--ready"); status != 0 {
			t.Errorf("not ready without a broker: %s", said)
		}
	}
	if err := w.broker.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.awaitDrained()
	for _, relay := range []*relaybin.Process{standby, leader} {
		relay.Terminate()
	}
	w.verdict(oracle.Limits{Redeliveries: window})
}

func TestHealthFollowsTheDatabase(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Own(t, nil)
	w := newWorld(t, worldOptions{cluster: cluster})
	relay := w.relay()
	w.awaitAnswer(relay, 0, "health", "--ready")
	if err := cluster.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	said := w.awaitAnswer(relay, 1, "health", "--ready")
	if !strings.Contains(said, "no session with the database") {
		t.Errorf("not ready: %q", said)
	}
	if status, said := w.ask(relay, "health"); status != 0 {
		t.Errorf("not alive without a database: %q", said)
	}
	w.awaitTold(relay, told{
		status: func(r admin.Report) bool { return r.Mode == "connecting" && r.Reason != "" },
		above:  []string{`outbox_mode{mode="connecting"}`},
		zero:   []string{"outbox_leader"},
		log:    []string{`"level":"WARN"`, "cannot work with the database"},
	})
	if err := cluster.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.awaitAnswer(relay, 0, "health", "--ready")
	relay.Terminate()
}

func TestStatusReadsRelayAndTable(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	load := w.load(oracle.Load{Rows: 200, Seed: 51})
	relay := w.relay()
	w.finish(load)
	w.awaitDrained()
	w.exec(`INSERT INTO {outbox} (topic, payload, available_at) VALUES ('oracle.later', '1', now() + interval '1 h')`)
	var got struct {
		Relay struct {
			Reached bool
			Status  struct {
				Mode, Table string
				Published   int `json:"published_total"`
			}
		}
		Database struct {
			Reached bool
			Rows    struct{ Scheduled, Dead, Pending struct{ Rows int } }
		}
	}
	// What the loop says of itself may be a turn old: a second.
	var text string
	w.await("the relay says that it has published all", func() bool {
		_, text = w.ask(relay, "status", "--json")
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		return got.Relay.Status.Published >= 200
	})
	s, rows := got.Relay.Status, got.Database.Rows
	if !got.Relay.Reached || s.Mode == "connecting" || s.Mode == "standby" || s.Table != "public.outbox" {
		t.Errorf("relay: %s", text)
	}
	if !got.Database.Reached || rows.Scheduled.Rows != 1 || rows.Pending.Rows != 0 || rows.Dead.Rows != 0 {
		t.Errorf("database: %s", text)
	}
	relay.Terminate()
}

func TestLeaderThatHasToPollIsNotReadyWhereTheLogIsWanted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{cluster: pgtest.Own(t, map[string]string{"wal_level": "replica"})})
	relay := w.relay("OUTBOX_MODE", "replication")
	relay.AwaitLog(`"msg":"leading"`)
	w.await("it is not ready, and says what is wanted", func() bool {
		status, said := w.ask(relay, "health", "--ready")
		return status == 1 && strings.Contains(said, "OUTBOX_MODE is replication")
	})
	if status, said := w.ask(relay, "health"); status != 0 {
		t.Errorf("not alive: %s", said)
	}
	w.insert(plain(1)) // and delivers all the same
	w.awaitDrained()
	relay.Terminate()
	w.verdict(oracle.Limits{})
}

func TestAddressThatIsTakenEndsTheRelayAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	relay := w.relay("OUTBOX_HTTP_ADDR", other.Addr().String())
	if status := relay.Wait(patience); status != 1 {
		t.Errorf("exit status %d, want 1", status)
	}
	if log := relay.Log(); !strings.Contains(log, "OUTBOX_HTTP_ADDR="+other.Addr().String()+" is taken") || !strings.Contains(log, "set it to an address of this relay's own") {
		t.Errorf("log: %s", log)
	}
}

// The relay's role may have one connection, so that the session that reads gets none:
// the relay is alive, and after half a minute not ready, and says why. (Rule 18.)
func TestRelayThatMayHaveOneConnectionIsNotReady(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	w.exec(`ALTER ROLE ` + sqltext.Identifier(w.role) + ` CONNECTION LIMIT 1`)
	w.insert(plain(1))
	relay := w.relay()
	relay.AwaitLog("too many connections for role")
	relay.AwaitLog(`"msg":"no progress"`)
	said := w.awaitAnswer(relay, 1, "health", "--ready")
	if !strings.Contains(said, "no progress for ") || !strings.Contains(said, "too many connections for role") {
		t.Errorf("not ready: %q", said)
	}
	w.awaitTold(relay, told{
		status: func(r admin.Report) bool {
			return r.StalledHere && strings.Contains(r.Stalled, "too many connections for role")
		},
		above: []string{"outbox_stalled_seconds", "outbox_stalled_here"},
		log:   []string{`"level":"WARN"`, "no progress", "too many connections for role"},
	})
	if status, said := w.ask(relay, "health"); status != 0 {
		t.Errorf("not alive: %q", said)
	}
	w.exec(`ALTER ROLE ` + sqltext.Identifier(w.role) + ` CONNECTION LIMIT 3`)
	w.awaitDrained()
	w.awaitAnswer(relay, 0, "health", "--ready")
	relay.Terminate()
	w.verdict(oracle.Limits{})
}

// What Prometheus scrapes agrees with what was published, and a standby counts the rows
// too: an alert on them fires also when no relay leads.
func TestMetricsTellWhatWasPublishedAndWhatWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	for n := range 25 {
		w.insert(plain(n))
	}
	leader := w.relay()
	w.awaitDrained()
	standby := w.relay()
	standby.AwaitLog("standing by")
	w.await("the metrics of the leader", func() bool {
		got := scrape(t, leader)
		return strings.Contains(got, `outbox_published_total{table="public.outbox"} 25`+"\n") &&
			strings.Contains(got, `outbox_leader{table="public.outbox"} 1`) &&
			strings.Contains(got, `outbox_delivery_latency_seconds_count{table="public.outbox"} 25`)
	})
	if err := w.broker.Kill(); err != nil {
		t.Fatal(err)
	}
	for n := range 5 {
		w.insert(plain(n))
	}
	for _, relay := range []*relaybin.Process{leader, standby} {
		w.await("five rows wait", func() bool {
			return strings.Contains(scrape(t, relay), `outbox_pending_rows{table="public.outbox"} 5`+"\n")
		})
	}
	w.await("the breaker is told", func() bool {
		return strings.Contains(scrape(t, leader), `outbox_breaker_open{table="public.outbox"} 1`)
	})
	if err := w.broker.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.awaitDrained()
	w.verdict(oracle.Limits{Redeliveries: window})
}

// scrape is what Prometheus gets.
func scrape(t testing.TB, relay *relaybin.Process) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+relay.HTTPAddr()+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v: %s", answer.Status, err, text)
	}
	return string(text)
}
