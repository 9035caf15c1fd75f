package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/e2e/natsserver"
	"github.com/outbox-relay/outbox-relay/e2e/pgserver"
	"github.com/outbox-relay/outbox-relay/e2e/pgtest"
	"github.com/outbox-relay/outbox-relay/relay"
)

func TestDoctorFindsNothingWhereAllIsWell(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.env["OUTBOX_MODE"] = "replication"
	p.stream("nats stream add ORDERS --subjects='orders.>'")
	p.sql("INSERT INTO outbox (topic, payload) VALUES ('orders.created', '1')")
	d := p.doctor()
	for _, c := range d.Checks {
		// Tests beside this one have transactions open.
		if c.Severity != "ok" && c.Name != "transactions" {
			t.Errorf("%+v", c)
		}
	}
	for name, says := range map[string]string{
		"connection": "as " + p.role, "pooler": "none", "stream of orders.created": "ORDERS", "stream ORDERS": "2m0s",
		"replication session": "can be opened", "broker": "with JetStream",
	} {
		if c := p.find(d, name); !strings.Contains(c.Found, says) {
			t.Errorf("%+v, want %q", c, says)
		}
	}
}

func TestDoctorSaysWhyThereIsNoConnection(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	direct := p.env["OUTBOX_DATABASE_URL"]

	// A database that does not exist, made by the mend.
	name := "missing_" + p.role
	p.env["OUTBOX_DATABASE_URL"] = p.server.URLAs(p.role, "s3cret", name)
	t.Cleanup(func() {
		conn, err := pgx.Connect(context.WithoutCancel(t.Context()), p.url)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close(context.WithoutCancel(t.Context()))
		if _, err := conn.Exec(context.WithoutCancel(t.Context()), "DROP DATABASE IF EXISTS "+name); err != nil {
			t.Error(err)
		}
	})
	c := p.suffers("connection", relay.Fault, "does not exist")
	if strings.Contains(fmt.Sprint(c), "s3cret") {
		t.Errorf("it tells the password: %+v", c)
	}
	p.recovers(c)

	// A role that may not log in.
	p.env["OUTBOX_DATABASE_URL"] = p.server.URLAs("nobody_"+p.role, "s3cret", "postgres")
	c = p.suffers("connection", relay.Fault, "does not exist")
	if want := "set OUTBOX_DATABASE_URL to a role that may log in"; !strings.HasPrefix(c.Mend[0], want) || strings.Contains(fmt.Sprint(c), "s3cret") {
		t.Errorf("%+v, want the mend %q", c, want)
	}
	p.env["OUTBOX_DATABASE_URL"] = direct
	p.suffers("connection", relay.Fine)
}

func TestDoctorSaysWhereNothingListens(t *testing.T) {
	t.Parallel()
	server := pgtest.Own(t, nil)
	p := newPatientOn(t, server, server.URL("postgres"))
	if err := server.StopMode(t.Context(), "fast"); err != nil {
		t.Fatal(err)
	}
	c := p.suffers("connection", relay.Fault, "connection refused")
	if want := "start PostgreSQL at " + hostOf(t, p.url); !strings.HasPrefix(c.Mend[0], want) {
		t.Errorf("mend %q, want %q", c.Mend, want)
	}
	// The broker is examined all the same.
	p.suffers("broker", relay.Fine)
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.suffers("connection", relay.Fine)
}

func TestDoctorWantsAPrimary(t *testing.T) {
	t.Parallel()
	primary := pgtest.Own(t, nil)
	p := newPatientOn(t, primary, primary.URL("postgres"))
	standby := pgtest.Own(t, nil)
	becomeStandby(t, standby)
	// The superuser, since a standby without a primary has no other role.
	p.env["OUTBOX_DATABASE_URL"] = standby.URL("postgres")
	c := p.suffers("server", relay.Fault, "the server is a standby")
	if want := "name the primary in OUTBOX_DATABASE_URL, or all hosts with target_session_attrs=read-write"; c.Mend[0] != want {
		t.Fatalf("mend %q, want %q", c.Mend, want)
	}
	both := hostOf(t, standby.URL("postgres")) + "," + hostOf(t, p.url)
	p.env["OUTBOX_DATABASE_URL"] = strings.Replace(p.url, hostOf(t, p.url), both, 1) + "&target_session_attrs=read-write"
	p.suffers("server", relay.Fine)

	p.env["OUTBOX_DATABASE_URL"] = p.url
	p.sql("ALTER SYSTEM SET default_transaction_read_only = on") // which the relay's sessions set aside
	p.suffers("server", relay.Fine)
}

// becomeStandby makes a cluster the standby of no primary.
func becomeStandby(t *testing.T, s *pgserver.Server) {
	t.Helper()
	conn := pgtest.Connect(t, s.URL("postgres"))
	var dir string
	if err := conn.QueryRow(t.Context(), "SHOW data_directory").Scan(&dir); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close(t.Context())
	if err := os.WriteFile(filepath.Join(dir, "standby.signal"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.StopMode(t.Context(), "fast"); err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestDoctorNamesThePooler(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	direct := p.env["OUTBOX_DATABASE_URL"]
	for _, c := range []struct {
		mode     pgserver.PoolMode
		severity relay.Severity
		says     string
	}{
		{pgserver.PoolTransaction, relay.Fault, "PgBouncer is in between, in transaction mode"},
		{pgserver.PoolSession, relay.Warning, "PgBouncer is in between, in session mode"},
	} {
		pooler, err := pgserver.StartPooler(t.Context(), p.server, c.mode)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := pooler.Close(); err != nil {
				t.Error(err)
			}
		})
		if p.env["OUTBOX_DATABASE_URL"], err = pooler.Through(direct); err != nil {
			t.Fatal(err)
		}
		found := p.suffers("pooler", c.severity, c.says)
		address := regexp.MustCompile(`^set OUTBOX_DATABASE_URL to PostgreSQL itself, which sees itself at (\S+)$`).FindStringSubmatch(found.Mend[0])
		if address == nil {
			t.Fatalf("mend %q", found.Mend)
		}
		p.env["OUTBOX_DATABASE_URL"] = strings.Replace(p.env["OUTBOX_DATABASE_URL"], hostOf(t, p.env["OUTBOX_DATABASE_URL"]), address[1], 1)
		p.suffers("pooler", relay.Fine, "none in between")
	}
}

func TestDoctorMendsTheServersSettings(t *testing.T) {
	t.Parallel()
	server := pgtest.Own(t, map[string]string{"wal_level": "replica", "max_replication_slots": "1", "max_wal_senders": "1"})
	p := newPatientOn(t, server, server.URL("postgres"))
	p.env["OUTBOX_MODE"] = "replication"
	p.sql("SELECT pg_create_physical_replication_slot('somebodys')")
	hold := func() { pgtest.Connect(t, p.url+"&replication=true&application_name=somebody") }
	hold()
	for name, says := range map[string]string{
		"wal_level":         `wal_level is "replica", needs "logical"`,
		"replication slots": "all 1 of max_replication_slots are in use",
		"walsenders":        "all 1 of max_wal_senders are in use",
	} {
		c := p.suffers(name, relay.Fault, says)
		p.recovers(c)
		hold() // the restart has ended it
		p.suffers(name, relay.Fine)
	}
	p.heals("abandoned slots", relay.Warning, "somebodys")
}

func TestDoctorNamesTransactionsThatStayOpen(t *testing.T) {
	t.Parallel()
	server := pgtest.Own(t, map[string]string{"max_prepared_transactions": "5"})
	p := newPatientOn(t, server, server.URL("postgres"))
	p.env["OUTBOX_MODE"] = "replication"
	app := pgtest.Connect(t, p.url+"&application_name=billing")
	begin := func() {
		if _, err := app.Exec(t.Context(), "BEGIN; SELECT pg_current_xact_id()"); err != nil {
			t.Fatal(err)
		}
	}
	begin()
	if _, err := app.Exec(t.Context(), "PREPARE TRANSACTION 'left''behind'"); err != nil {
		t.Fatal(err)
	}
	begin()
	// As the role that may not see since when.
	c := p.suffers("transactions", relay.Fault, `prepared transaction "left'behind"`, `application "billing"`, fmt.Sprintf("pid %d", app.PgConn().PID()))
	// As one that may, it is no fault to be young.
	p.sql("GRANT pg_read_all_stats TO " + p.role)
	deadline := time.Now().Add(30 * time.Second)
	for !strings.Contains(p.find(p.doctor(), "transactions").Found, "billing") {
		if time.Now().After(deadline) {
			t.Fatal("a transaction that is known to be old is not told")
		}
	}
	if since := p.find(p.doctor(), "transactions").Found; !strings.Contains(since, " since ") {
		t.Errorf("%q does not tell the age", since)
	}
	p.recovers(c)
}

func TestDoctorAdvisesTheGateBesideASynchronousStandby(t *testing.T) {
	t.Parallel()
	server := pgtest.Own(t, nil)
	p := newPatientOn(t, server, server.URL("postgres"))
	p.env["OUTBOX_VISIBILITY_GATE"] = "off"
	p.suffers("visibility gate", relay.Fine)
	p.sql("ALTER SYSTEM SET synchronous_standby_names = 'nowhere'", "SELECT pg_reload_conf()")
	deadline := time.Now().Add(30 * time.Second)
	for p.value("SHOW synchronous_standby_names") == "" {
		if time.Now().After(deadline) {
			t.Fatal("the setting is not there")
		}
	}
	p.heals("visibility gate", relay.Warning, "synchronous_standby_names is set")
}

func TestDoctorOfABrokerThatIsNotThere(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.broker.Shutdown()
	c := p.suffers("broker", relay.Fault, "connection refused")
	if want := "start NATS at " + p.broker.Addr() + ","; !strings.HasPrefix(c.Mend[0], want) {
		t.Errorf("mend %q, want %q", c.Mend, want)
	}
	p.suffers("table", relay.Fine) // examined all the same
	if err := p.broker.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.suffers("broker", relay.Fine)
}

func TestDoctorOfABrokerThatTakesNoMessages(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	sink := func(o natsserver.Options, user string) {
		p.broker = startBroker(t, o)
		p.env["OUTBOX_SINK_URL"] = "nats://" + user + p.broker.Addr()
	}
	sink(natsserver.Options{Config: "jetstream: false"}, "")
	c := p.suffers("broker", relay.Fault, "runs without JetStream")
	if want := "start it with -js, or with jetstream: true in its configuration"; c.Mend[0] != want {
		t.Errorf("mend %q, want %q", c.Mend, want)
	}
	sink(natsserver.Options{Config: "jetstream: true"}, "")
	p.suffers("broker", relay.Fine)

	accounts := natsserver.Options{Config: `accounts {
		with: {jetstream: enabled, users: [{user: relay, password: s3cret}]}
		without: {users: [{user: other, password: s3cret}]} }`}
	sink(accounts, "other:s3cret@")
	c = p.suffers("broker", relay.Fault, "no JetStream for this account")
	if want := "or set OUTBOX_SINK_URL to another user"; !strings.Contains(c.Mend[0], want) {
		t.Errorf("mend %q, want %q", c.Mend, want)
	}
	p.env["OUTBOX_SINK_URL"] = "nats://relay:wrong-s3cret@" + p.broker.Addr()
	c = p.suffers("broker", relay.Fault, "Authorization Violation")
	if !strings.Contains(c.Mend[0], "check OUTBOX_SINK_URL") || strings.Contains(fmt.Sprint(c), "s3cret") {
		t.Errorf("%+v", c)
	}
	p.env["OUTBOX_SINK_URL"] = "nats://relay:s3cret@" + p.broker.Addr()
	p.suffers("broker", relay.Fine)
}

func TestDoctorMendsStreams(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.sql(`INSERT INTO outbox (topic, payload, sent_at) VALUES ('payments.made', '1', now())`)
	p.suffers("stream of payments.made", relay.Fault, "no stream has it") // sent ones, where none is pending
	p.sql(`INSERT INTO outbox (topic, payload, available_at) VALUES ('orders.created', '1', NULL), ('orders.paid', '1', NULL),
		('orders', '1', NULL), ('it''s.here', '1', NULL), ('shipments.sent', '1', NULL), ('shipments.lost', '1', NULL), ('no subject', '1', NULL)`)
	p.stream("nats stream add ORDERS --subjects='something.else'") // the name is taken
	p.stream("nats stream add PART --subjects='shipments.sent'")   // a part is taken

	c := p.suffers("stream of orders.created", relay.Fault, "no stream has it")
	if want := "nats stream add ORDERS_2 --subjects='orders,orders.>' --storage=file --dupe-window=2m --defaults"; c.Mend[0] != want {
		t.Errorf("mend %q, want %q", c.Mend, want)
	}
	p.recovers(c)
	p.suffers("stream of orders.paid", relay.Fine, "ORDERS_2")
	p.suffers("stream of orders", relay.Fine, "ORDERS_2")
	p.heals("stream of shipments.lost", relay.Fault)
	if d := p.find(p.doctor(), "stream of no subject"); d.Severity != "warning" {
		t.Errorf("%+v", d)
	}
	// What a row says stays one word of a shell's.
	c = p.suffers("stream of it's.here", relay.Fault)
	if want := `--subjects='it'\''s.>'`; !strings.Contains(c.Mend[0], want) {
		t.Errorf("mend %q, want %q", c.Mend, want)
	}
	p.env["OUTBOX_TOPOLOGY"] = "create"
	p.suffers("stream of it's.here", relay.Fine, "it will be added to stream OUTBOX")
}

func TestDoctorMendsTheStreamsConfiguration(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.sql(`INSERT INTO outbox (topic, payload) VALUES ('orders.created', '1')`)
	config := streamConfig()
	config.Duplicates, config.NoAck = time.Second, true
	if _, err := p.js().CreateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	p.heals("stream ORDERS", relay.Fault, "acknowledges nothing", "for 1s only")
}
