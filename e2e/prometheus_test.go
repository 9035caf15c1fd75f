package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
	"github.com/outbox-relay/outbox-relay/e2e/testbed"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
)

// prometheus is a real one that scrapes a relay every second, with the project's rules.
type prometheus struct {
	*testing.T
	url string
}

func startPrometheus(t *testing.T, relay *relaybin.Process) *prometheus {
	t.Helper()
	dir, err := testbed.NewDir("prometheus", nil)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := filepath.Abs("../deploy/prometheus/outbox-relay.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [%q]\n"+
		"scrape_configs: [{job_name: relay, static_configs: [{targets: [%q]}]}]\n", rules, relay.HTTPAddr())
	if err := os.WriteFile(dir.Join("prometheus.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &prometheus{T: t}
	var address string
	s, err := testbed.Start(t.Context(), testbed.Spec{
		Name: "Prometheus", Dir: dir, Ports: 1,
		Prepare: func(_ context.Context, ports []int) error {
			address = fmt.Sprintf("127.0.0.1:%d", ports[0])
			p.url = "http://" + address
			return nil
		},
		Command: func() (*exec.Cmd, error) {
			return exec.Command("prometheus", "--config.file="+dir.Join("prometheus.yml"), "--storage.tsdb.path="+dir.Join("data"), "--web.listen-address="+address), nil
		},
		Ready: func(ctx context.Context, _ int) error { return get(ctx, p.url+"/-/ready", nil) },
	})
	if err != nil {
		_ = dir.Close()
		t.Fatalf("%v (Debian's package prometheus has it)", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return p
}

// get decodes an answer into the value, if there is one.
func get(ctx context.Context, from string, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return errors.New(answer.Status)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(answer.Body).Decode(into)
}

// query returns the labels of the series that an expression has now.
func (p *prometheus) query(expression string) []map[string]string {
	p.Helper()
	var answer struct {
		Data struct {
			Result []struct{ Metric map[string]string }
		}
	}
	if err := get(p.Context(), p.url+"/api/v1/query?query="+url.QueryEscape(expression), &answer); err != nil {
		p.Fatalf("%s: %v", expression, err)
	}
	var series []map[string]string
	for _, r := range answer.Data.Result {
		series = append(series, r.Metric)
	}
	return series
}

// fires says whether an alert does.
func (p *prometheus) fires(alert, state string) bool {
	p.Helper()
	return len(p.query(fmt.Sprintf("ALERTS{alertname=%q,alertstate=%q,table=\"public.outbox\"}", alert, state))) > 0
}

// dashboardQueries are those of the Grafana dashboard, with its variables filled in.
func dashboardQueries(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../deploy/grafana/outbox-relay.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct {
				Expr, RefID string
				Legend      string `json:"legendFormat"`
			}
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	queries := make(map[string]string)
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			queries[panel.Title+" "+target.RefID+" "+target.Legend] = strings.NewReplacer("$table", ".*", "$__rate_interval", "1m").Replace(target.Expr)
		}
	}
	if len(queries) < 20 {
		t.Fatalf("%d queries: the dashboard was not read", len(queries))
	}
	return queries
}

var legendLabel = regexp.MustCompile(`{{(\w+)}}`)

// Every query of the dashboard has data from a real relay, with each label that its legend
// names, and the alert of a broker that is down goes on and off with the fault. (promtool
// tests the rules against the clock.)
func TestDashboardAndAlertsOnARealPrometheus(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	relay := w.relay()
	p := startPrometheus(t, relay)
	for n := range 20 {
		w.insert(plain(n))
	}
	w.awaitDrained()
	for name, query := range dashboardQueries(t) {
		var series []map[string]string
		w.await("the dashboard's "+name+": "+query, func() bool {
			series = p.query(query)
			return len(series) > 0
		})
		for _, label := range legendLabel.FindAllStringSubmatch(name, -1) {
			if series[0][label[1]] == "" {
				t.Errorf("%s: its series have no label %s: %v", name, label[1], series)
			}
		}
	}
	w.await("the recorded p99", func() bool { return len(p.query(`outbox:delivery_latency_seconds:p99_5m`)) > 0 })
	// A scrape may have been too slow, which makes an alert wait for a moment.
	w.await("no alert fires while all is well", func() bool { return !p.fires("OutboxBrokerDown", "pending") && !p.fires("OutboxNoLeader", "pending") })
	if err := w.broker.Kill(); err != nil {
		t.Fatal(err)
	}
	w.insert(plain(99))
	w.await("the alert begins", func() bool { return p.fires("OutboxBrokerDown", "pending") || p.fires("OutboxBrokerDown", "firing") })
	if err := w.broker.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.await("the alert ends", func() bool { return !p.fires("OutboxBrokerDown", "pending") && !p.fires("OutboxBrokerDown", "firing") })
	w.awaitDrained()
	w.verdict(oracle.Limits{Redeliveries: window})
}

// What rules and dashboard name is what a relay serves, each alert has its section in the
// runbook, and promtool agrees with the rules.
func TestRulesAreThoseOfTheRelay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	relay := w.relay()
	served := scrape(t, relay)
	rules, err := os.ReadFile("../deploy/prometheus/outbox-relay.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	runbook, err := os.ReadFile("../docs/runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(rules)
	for _, query := range dashboardQueries(t) {
		text += "\n" + query
	}
	names := regexp.MustCompile(`\boutbox_[a-z0-9_]+`).FindAllString(text, -1)
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if !strings.Contains(served, "\n"+name+"{") && !strings.Contains(served, "# TYPE "+strings.TrimSuffix(name, "_bucket")+" ") {
			t.Errorf("no relay serves %s", name)
		}
	}
	alerts := regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(string(rules), -1)
	if len(alerts) < 10 {
		t.Errorf("%d alerts: the rules were not read", len(alerts))
	}
	for _, alert := range alerts {
		if !strings.Contains(string(runbook), "\n### "+alert[1]+"\n") || !strings.Contains(string(rules), "docs/runbook.md#"+strings.ToLower(alert[1])) {
			t.Errorf("%s has no section of its own in docs/runbook.md, or does not link to it", alert[1])
		}
	}
	check := exec.CommandContext(t.Context(), "promtool", "test", "rules", "outbox-relay.rules.test.yml")
	check.Dir = "../deploy/prometheus"
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}
