//go:build alerts

package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// Each alert of deploy/prometheus, from its real fault, through a real Prometheus and a
// real Alertmanager, to whoever is on call, and its end.

// shorter are the waits of the rules, and what a test waits for instead. Each must be in
// the rules: what is tested are those that are shipped, in less time.
var shorter = [][2]string{
	{"for: 1m\n", "for: 1s\n"},
	{"for: 5m\n", "for: 1s\n"},
	{"for: 10m\n", "for: 1s\n"},
	{"for: 1h\n", "for: 1s\n"},
	{"outbox_oldest_pending_age_seconds) > 60", "outbox_oldest_pending_age_seconds) > 20"},
	{"outbox_retained_wal_bytes) > 512 *", "outbox_retained_wal_bytes) > 8 *"},
	{"increase(outbox_reconciled_rows_total[15m])", "increase(outbox_reconciled_rows_total[30s])"},
	{"outbox_counted_timestamp_seconds) > 120", "outbox_counted_timestamp_seconds) > 40"},
}

// onCall is who gets what Alertmanager sends: which alerts fire, by table.
type onCall struct {
	mu     sync.Mutex
	firing map[string]bool
	links  map[string]string // of alerts to the runbook
}

// ServeHTTP takes a webhook of Alertmanager.
func (o *onCall) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var sent struct {
		Alerts []struct {
			Status              string
			Labels, Annotations map[string]string
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&sent); err != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, a := range sent.Alerts {
		o.firing[a.Labels["alertname"]+" "+a.Labels["table"]] = a.Status == "firing"
		o.links[a.Labels["alertname"]] = a.Annotations["runbook"]
	}
}

func (o *onCall) fires(alert, table string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.firing[alert+" "+table]
}

// alarm is Prometheus with the rules, and Alertmanager.
type alarm struct {
	*testing.T
	onCall
	mu      sync.Mutex
	dir     *testbed.Dir
	targets map[string]string // address of a relay by table
	url     string            // of Prometheus
}

func startAlarm(t *testing.T) *alarm {
	t.Helper()
	a := &alarm{T: t, onCall: onCall{firing: map[string]bool{}, links: map[string]string{}}, targets: map[string]string{}}
	phone := httptest.NewServer(&a.onCall)
	t.Cleanup(phone.Close)
	dir, err := testbed.NewDir("alertmanager", nil)
	if err != nil {
		t.Fatal(err)
	}
	a.dir = dir
	manager := a.startManager(phone.URL)
	rules, err := os.ReadFile("../deploy/prometheus/outbox-relay.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range shorter {
		if !bytes.Contains(rules, []byte(s[0])) {
			t.Fatalf("the rules have no %q", s[0])
		}
		rules = bytes.ReplaceAll(rules, []byte(s[0]), []byte(s[1]))
	}
	prometheusDir, err := testbed.NewDir("prometheus", nil)
	if err != nil {
		t.Fatal(err)
	}
	a.write(prometheusDir.Join("rules.yml"), string(rules))
	a.writeTargets()
	a.write(prometheusDir.Join("prometheus.yml"), fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [rules.yml]\n"+
		"alerting: {alertmanagers: [{static_configs: [{targets: [%q]}]}]}\n"+
		"scrape_configs: [{job_name: relay, file_sd_configs: [{files: [%q], refresh_interval: 1s}]}]\n", manager, dir.Join("targets.json")))
	a.url = "http://" + a.start("Prometheus", prometheusDir, func(address string) *exec.Cmd {
		return exec.Command("prometheus", "--config.file="+prometheusDir.Join("prometheus.yml"), "--storage.tsdb.path="+prometheusDir.Join("data"), "--web.listen-address="+address)
	})
	return a
}

func (a *alarm) startManager(phone string) (address string) {
	a.Helper()
	a.write(a.dir.Join("alertmanager.yml"), fmt.Sprintf("route: {receiver: phone, group_by: ['...'], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}\n"+
		"receivers: [{name: phone, webhook_configs: [{url: %q, send_resolved: true}]}]\n", phone))
	return a.start("Alertmanager", a.dir, func(address string) *exec.Cmd {
		return exec.Command("prometheus-alertmanager", "--config.file="+a.dir.Join("alertmanager.yml"), "--storage.path="+a.dir.Join("data"),
			"--web.listen-address="+address, "--cluster.listen-address=")
	})
}

// start runs a server and returns its address.
func (a *alarm) start(name string, dir *testbed.Dir, command func(address string) *exec.Cmd) (address string) {
	a.Helper()
	s, err := testbed.Start(a.Context(), testbed.Spec{
		Name: name, Dir: dir, Ports: 1,
		Prepare: func(_ context.Context, ports []int) error {
			address = fmt.Sprintf("127.0.0.1:%d", ports[0])
			return nil
		},
		Command: func() (*exec.Cmd, error) { return command(address), nil },
		Ready:   func(ctx context.Context, _ int) error { return get(ctx, "http://"+address+"/-/ready", nil) },
	})
	if err != nil {
		a.Fatalf("%v (Debian's packages prometheus and prometheus-alertmanager have them)", err)
	}
	a.Cleanup(func() { _ = s.Close() })
	return address
}

func (a *alarm) write(path, text string) {
	a.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		a.Fatal(err)
	}
}

// watch has Prometheus scrape the relay, and no other of that table.
func (a *alarm) watch(table string, relay *relaybin.Process) {
	a.Helper()
	address := relay.HTTPAddr()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.targets[table] = address
	a.writeTargets()
}

// awaitKnown waits until Prometheus has series of the world's table for an expression, in
// which {table} stands for that label. An alert on what has changed needs what was before.
func (a *alarm) awaitKnown(w *world, expression string) {
	a.Helper()
	p := &prometheus{T: w.t.(*testing.T), url: a.url}
	expression = strings.ReplaceAll(expression, "{table}", fmt.Sprintf("{table=%q}", w.options.table))
	w.awaitFor(2*patience, "Prometheus knows "+expression, func() bool { return len(p.query(expression)) > 0 })
}

// writeTargets puts the file in its place at once: half of one is none.
func (a *alarm) writeTargets() {
	a.Helper()
	groups := []map[string][]string{}
	for _, address := range a.targets {
		groups = append(groups, map[string][]string{"targets": {address}})
	}
	text, err := json.Marshal(groups)
	if err != nil {
		a.Fatal(err)
	}
	path := a.dir.Join("targets.json")
	a.write(path+".new", string(text))
	if err := os.Rename(path+".new", path); err != nil {
		a.Fatal(err)
	}
}

// faultOf makes the real fault of some alerts in a world of its own, and ends it.
type faultOf struct {
	alerts []string          // that fire of it
	own    map[string]string // settings of a cluster of its own; nil: the shared one
	env    []string
	begin  func(w *world, a *alarm, relay *relaybin.Process) func() // what it returns ends it
}

func TestEachAlertFiresFromItsFaultAndResolves(t *testing.T) {
	a := startAlarm(t)
	t.Run("faults", func(t *testing.T) {
		for i, f := range faultsOfAlerts() {
			t.Run(strings.Join(f.alerts, " "), func(t *testing.T) {
				t.Parallel()
				f.play(t, a, fmt.Sprintf("public.outbox_%d", i))
			})
		}
	})
	rules, err := os.ReadFile("../deploy/prometheus/outbox-relay.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, alert := range regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(string(rules), -1) {
		if a.links[alert[1]] != "docs/runbook.md#"+strings.ToLower(alert[1]) {
			t.Errorf("%s was never sent, or does not link to its section: %q", alert[1], a.links[alert[1]])
		}
	}
}

func (f faultOf) play(t *testing.T, a *alarm, table string) {
	o := worldOptions{table: table}
	if f.own != nil {
		o.cluster = pgtest.Own(t, f.own)
	}
	w := newWorld(t, o)
	relay := w.relay(f.env...)
	a.watch(table, relay)
	end := f.begin(w, a, relay)
	for _, alert := range f.alerts {
		w.awaitFor(2*patience, alert+" fires", func() bool { return a.fires(alert, table) })
	}
	end()
	for _, alert := range f.alerts {
		w.awaitFor(2*patience, alert+" resolves", func() bool { return !a.fires(alert, table) })
	}
}

func faultsOfAlerts() []faultOf {
	return []faultOf{
		{
			alerts: []string{"OutboxBrokerDown", "OutboxStalled", "OutboxRowsWait"},
			begin: func(w *world, _ *alarm, _ *relaybin.Process) func() {
				w.killBroker()
				w.insert(plain(1))
				return w.restartBroker
			},
		},
		{
			alerts: []string{"OutboxTableDown"},
			begin:  func(w *world, _ *alarm, _ *relaybin.Process) func() { return failMarks(w, "") },
		},
		{
			alerts: []string{"OutboxUnmarkableRows"},
			begin: func(w *world, _ *alarm, _ *relaybin.Process) func() {
				return failMarks(w, "WHEN (OLD.topic = 'oracle.poison')")
			},
		},
		{
			alerts: []string{"OutboxLockedRows"},
			begin:  lockRow,
		},
		{
			alerts: []string{"OutboxDeadRows"},
			begin: func(w *world, _ *alarm, _ *relaybin.Process) func() {
				w.exec(`INSERT INTO {outbox} (topic, payload) VALUES ('no.*.subject', '{}')`)
				return func() { w.exec(`DELETE FROM {outbox} WHERE dead_at IS NOT NULL`) }
			},
		},
		{
			// Nothing is left to scrape: no series says 0.
			alerts: []string{"OutboxNoLeader"},
			begin: func(w *world, a *alarm, relay *relaybin.Process) func() {
				a.awaitKnown(w, "outbox_leader{table} == 1")
				relay.Kill()
				return func() { a.watch(w.options.table, w.relay()) }
			},
		},
		{
			// Frozen, it answers no scrape: Prometheus knows no more than of one that is gone.
			alerts: []string{"OutboxNoLeader"},
			begin: func(w *world, a *alarm, relay *relaybin.Process) func() {
				a.awaitKnown(w, "outbox_leader{table} == 1")
				relay.Signal(syscall.SIGSTOP)
				return func() { relay.Signal(syscall.SIGCONT) }
			},
		},
		{
			alerts: []string{"OutboxNotTailing"},
			own:    map[string]string{},
			begin: func(w *world, _ *alarm, relay *relaybin.Process) func() {
				w.awaitTailing(relay)
				w.exec(`DROP PUBLICATION outbox_relay`)
				return w.migrate
			},
		},
		{
			alerts: []string{"OutboxRetainedWAL"},
			own:    map[string]string{},
			begin: func(w *world, _ *alarm, relay *relaybin.Process) func() {
				w.awaitTailing(relay)
				open, _ := w.openElsewhere("forgotten")
				for range 16 {
					w.emit()
				}
				return func() { w.commit(open) }
			},
		},
		{
			alerts: []string{"OutboxReconciledRows"},
			own:    map[string]string{},
			env:    []string{"OUTBOX_RECONCILE_INTERVAL", "5s"},
			begin: func(w *world, a *alarm, relay *relaybin.Process) func() {
				w.awaitTailing(relay)
				a.awaitKnown(w, "count_over_time(outbox_reconciled_rows_total{table}[30s]) > 2") // an increase begins somewhere
				w.exec(`ALTER PUBLICATION outbox_relay SET TABLE {outbox} WHERE (topic <> 'oracle.plain')`)
				w.insert(plain(1))
				w.exec(`ALTER PUBLICATION outbox_relay SET TABLE {outbox}`)
				w.awaitDrained()
				w.insert(plain(2)) // takes the log past the other
				return func() {}
			},
		},
		{
			alerts: []string{"OutboxNotCounted"},
			begin: func(w *world, _ *alarm, relay *relaybin.Process) func() {
				role := sqltext.Identifier(w.role)
				w.await("the rows were counted", func() bool { return w.status(relay).Rows != nil })
				w.exec(`REVOKE SELECT ON {outbox} FROM ` + role)
				return w.migrate
			},
		},
		{
			alerts: []string{"OutboxPaused"},
			begin: func(w *world, _ *alarm, _ *relaybin.Process) func() {
				w.command("pause", "--reason", "the broker moves")
				return func() { w.command("resume") }
			},
		},
		{
			alerts: []string{"OutboxForeign"},
			begin: func(w *world, _ *alarm, relay *relaybin.Process) func() {
				relay.AwaitLog("leading")
				w.adopt("production")
				return func() { w.adopt("") }
			},
		},
		{
			alerts: []string{"OutboxNotPurged"},
			env:    []string{"OUTBOX_RETENTION", "1s"}, // its role may not delete
			begin: func(w *world, a *alarm, relay *relaybin.Process) func() {
				return func() {
					w.exec(`GRANT DELETE ON {outbox} TO ` + sqltext.Identifier(w.role))
					relay.Terminate() // else it looks again after five minutes
					a.watch(w.options.table, w.relay("OUTBOX_RETENTION", "1s"))
				}
			},
		},
	}
}

// lockRow has a session lock a row while the relay publishes it.
func lockRow(w *world, _ *alarm, relay *relaybin.Process) func() {
	w.t.Helper()
	w.awaitDrained()
	// While the broker is down no row is published, so that one can be locked first.
	relay.AwaitLog("leading")
	holder, err := pgtest.Connect(w.t, w.url).Begin(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	w.killBroker()
	row := w.insert(plain(2))
	if _, err := holder.Exec(w.t.Context(), w.sql(`SELECT FROM {outbox} WHERE id = $1 FOR UPDATE`), row.ID); err != nil {
		w.t.Fatal(err)
	}
	w.restartBroker()
	return func() { w.commit(holder) }
}
