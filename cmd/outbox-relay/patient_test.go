package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/natsserver"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgserver"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/relay"
)

// patient is a relay's surroundings, in good health until a test spoils them.
type patient struct {
	t      *testing.T
	server *pgserver.Server
	url    string // the superuser's
	role   string // the relay's
	broker *natsserver.Server
	env    map[string]string
}

var patients atomic.Int64

// newPatient is in the shared cluster.
func newPatient(t *testing.T) *patient {
	t.Helper()
	return newPatientOn(t, pgtest.Server(t), pgtest.Database(t))
}

func newPatientOn(t *testing.T, server *pgserver.Server, url string) *patient {
	t.Helper()
	p := &patient{t: t, server: server, url: url, role: fmt.Sprintf("patient_%d", patients.Add(1))}
	p.broker = startBroker(t, natsserver.Options{})
	p.env = map[string]string{"OUTBOX_SINK_URL": p.broker.URL(), "OUTBOX_DATABASE_URL": url}
	_, p.env["OUTBOX_HTTP_ADDR"], _ = strings.Cut(nowhere(t), "=")
	p.run("outbox-relay migrate --role " + p.role)
	p.env["OUTBOX_DATABASE_URL"] = server.URLAs(p.role, "", p.value("SELECT current_database()"))
	if server == pgtest.Server(t) {
		t.Cleanup(func() {
			// Without its privileges the role can go, although the database goes later.
			ctx := context.WithoutCancel(t.Context())
			conn, err := pgx.Connect(ctx, url)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close(ctx)
			if _, err := conn.Exec(ctx, "DROP OWNED BY "+p.role+" CASCADE; DROP ROLE "+p.role); err != nil {
				t.Error(err)
			}
		})
	}
	return p
}

func startBroker(t *testing.T, o natsserver.Options) *natsserver.Server {
	t.Helper()
	broker, err := natsserver.StartInProcess(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := broker.Close(); err != nil {
			t.Error(err)
		}
	})
	return broker
}

// js is the broker's administrator.
func (p *patient) js() jetstream.JetStream {
	p.t.Helper()
	conn, err := natsserver.Connect(p.broker.URL())
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(conn.Close)
	js, err := natsserver.JetStream(conn)
	if err != nil {
		p.t.Fatal(err)
	}
	return js
}

// sql runs a statement as the superuser, on a connection of its own.
func (p *patient) sql(statements ...string) {
	p.t.Helper()
	conn := pgtest.Connect(p.t, p.url)
	for _, s := range statements {
		if _, err := conn.Exec(p.t.Context(), s); err != nil {
			p.t.Fatalf("%s: %v", s, err)
		}
	}
	_ = conn.Close(p.t.Context())
}

func (p *patient) value(query string) string {
	p.t.Helper()
	var v string
	conn := pgtest.Connect(p.t, p.url)
	if err := conn.QueryRow(p.t.Context(), query).Scan(&v); err != nil {
		p.t.Fatalf("%s: %v", query, err)
	}
	_ = conn.Close(p.t.Context()) // some ask again and again
	return v
}

// environ is the relay's environment with some variables on top.
func (p *patient) environ(more ...string) []string {
	var list []string
	for name, value := range p.env {
		list = append(list, name+"="+value)
	}
	return append(list, more...)
}

// run runs a line of a shell, as the table's owner.
func (p *patient) run(line string) {
	p.t.Helper()
	words := strings.Fields(line)
	got := do(p.t, p.environ("OUTBOX_DATABASE_URL="+p.url), words[1:]...)
	if got.status != 0 {
		p.t.Fatalf("%s: %+v", line, got)
	}
}

// doctor runs the command, whose exit status must be that of its findings.
func (p *patient) doctor() diagnosis {
	p.t.Helper()
	got := do(p.t, p.environ(), "doctor", "--json")
	var d diagnosis
	if err := json.Unmarshal([]byte(got.stdout), &d); err != nil {
		p.t.Fatalf("%v: %+v", err, got)
	}
	if want := min(d.Faults, 1); got.status != want {
		p.t.Errorf("exit status %d with %d faults, want %d", got.status, d.Faults, want)
	}
	return d
}

// find returns the check of that name.
func (p *patient) find(d diagnosis, name string) checkReport {
	p.t.Helper()
	i := slices.IndexFunc(d.Checks, func(c checkReport) bool { return c.Name == name })
	if i < 0 {
		p.t.Fatalf("%s was not examined: %+v", name, d.Checks)
	}
	return d.Checks[i]
}

// suffers demands that the doctor finds this.
func (p *patient) suffers(name string, severity relay.Severity, words ...string) checkReport {
	p.t.Helper()
	c := p.find(p.doctor(), name)
	if c.Severity != severity.String() || c.Severity != "ok" && severity != relay.Fine && len(c.Fix) == 0 {
		p.t.Fatalf("%+v, want a %s with a fix", c, severity)
	}
	for _, w := range words {
		if !strings.Contains(c.Found, w) {
			p.t.Errorf("%q does not contain %q", c.Found, w)
		}
	}
	return c
}

// awaits runs doctor until a check has the severity and the words.
func (p *patient) awaits(name string, severity relay.Severity, words ...string) checkReport {
	p.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; {
		c := p.find(p.doctor(), name)
		lacks := func(word string) bool { return !strings.Contains(c.Found, word) }
		if c.Severity == severity.String() && !slices.ContainsFunc(words, lacks) {
			return c
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("%+v, want a severity of %s and %q", c, severity, words)
		}
	}
}

// recovers runs the printed fix and demands that the check turns green. Sessions that
// are terminated, and a configuration that is reloaded, take a moment.
func (p *patient) recovers(c checkReport) {
	p.t.Helper()
	restart := false
	for _, line := range c.Fix {
		restart = restart || strings.Contains(line, "then restart PostgreSQL")
		p.follow(line)
	}
	if restart {
		p.restart()
	}
	p.awaits(c.Name, relay.Fine)
}

// heals does both.
func (p *patient) heals(name string, severity relay.Severity, words ...string) {
	p.t.Helper()
	p.recovers(p.suffers(name, severity, words...))
}

// follow does what one line of a fix says.
func (p *patient) follow(line string) {
	p.t.Helper()
	statement, _, isSQL := strings.Cut(line, ";  -- ")
	command, _, _ := strings.Cut(line, "  # ")
	switch {
	case isSQL:
		p.sql(statement)
	case strings.HasSuffix(line, ";"):
		p.sql(line)
	case strings.HasPrefix(line, "outbox-relay adopt"):
		p.run(command + " --yes") // as a person says, who is asked
	case strings.HasPrefix(line, "outbox-relay "):
		p.run(command)
	case strings.HasPrefix(line, "nats stream "):
		p.stream(command)
	case strings.HasPrefix(line, "set "):
		name, value, found := strings.Cut(strings.TrimPrefix(command, "set "), "=")
		value = strings.Trim(value, "'")
		if !found {
			p.t.Fatalf("nobody can do what %q says", line)
		}
		p.env[name] = value
	default:
		p.t.Fatalf("nobody can do what %q says", line)
	}
}

// stream does with the client what the program nats would do: in a new stream's
// place its defaults, in an old one's its own values, and the flags on top.
func (p *patient) stream(line string) {
	p.t.Helper()
	words := strings.Fields(line)
	var config jetstream.StreamConfig
	js, name := p.js(), strings.Trim(words[3], "'")
	if words[2] == "edit" {
		stream, err := js.Stream(p.t.Context(), name)
		if err != nil {
			p.t.Fatal(err)
		}
		config = stream.CachedInfo().Config
	}
	config.Name = name
	for _, flag := range words[4:] {
		key, value, _ := strings.Cut(flag, "=")
		switch key {
		case "--subjects":
			config.Subjects = strings.Split(strings.Trim(value, "'"), ",")
		case "--storage":
			config.Storage = map[string]jetstream.StorageType{"file": jetstream.FileStorage}[value]
		case "--dupe-window":
			config.Duplicates = p.duration(value)
		case "--max-age":
			config.MaxAge = p.duration(value)
		case "--allow-fast":
			config.AllowBatchPublish = true
		case "--ack":
			config.NoAck = false
		case "--discard":
			config.Discard = map[string]jetstream.DiscardPolicy{"new": jetstream.DiscardNew}[value]
		case "--discard-per-subject":
			config.DiscardNewPerSubject = true
		case "--retention":
			config.Retention = map[string]jetstream.RetentionPolicy{"limits": jetstream.LimitsPolicy}[value]
		case "--defaults", "--force": // questions that are not asked
		default:
			p.t.Fatalf("%s: unknown flag %s", line, flag)
		}
	}
	if _, err := js.CreateOrUpdateStream(p.t.Context(), config); err != nil {
		p.t.Fatalf("%s: %v", line, err)
	}
}

func (p *patient) duration(text string) time.Duration {
	p.t.Helper()
	d, err := time.ParseDuration(text)
	if err != nil {
		p.t.Fatal(err)
	}
	return d
}

func (p *patient) restart() {
	p.t.Helper()
	if err := p.server.Stop(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	if err := p.server.Restart(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
}

func hostOf(t *testing.T, text string) string {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// roleIn puts the relay's role into a statement.
func roleIn(statement, role string) string { return strings.ReplaceAll(statement, "{role}", role) }

func streamConfig() jetstream.StreamConfig {
	return jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}, Storage: jetstream.FileStorage}
}
