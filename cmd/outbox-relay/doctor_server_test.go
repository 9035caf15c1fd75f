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

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgserver"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
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

	// A database that does not exist, made by the fix.
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
	if want := "set OUTBOX_DATABASE_URL to a role that may log in"; !strings.HasPrefix(c.Fix[0], want) || strings.Contains(fmt.Sprint(c), "s3cret") {
		t.Errorf("%+v, want the fix %q", c, want)
	}
	p.env["OUTBOX_DATABASE_URL"] = direct
	p.suffers("connection", relay.Fine)
}

func TestDoctorSaysWhereNothingListens(t *testing.T) {
	t.Parallel()
	server := pgtest.Own(t, nil)
	p := newPatientOn(t, server, server.URL("postgres"))
	if err := server.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := p.suffers("connection", relay.Fault, "connection refused")
	if want := "start PostgreSQL at " + hostOf(t, p.url); !strings.HasPrefix(c.Fix[0], want) {
		t.Errorf("fix %q, want %q", c.Fix, want)
	}
	// The broker is examined all the same.
	p.suffers("broker", relay.Fine)
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.suffers("connection", relay.Fine)
}

func TestDoctorFixesAServerWithoutConnectionsLeft(t *testing.T) {
	t.Parallel()
	server := pgtest.Own(t, map[string]string{"max_connections": "12", "max_wal_senders": "2"})
	p := newPatientOn(t, server, server.URL("postgres"))
	p.sql("CREATE ROLE crowd LOGIN")
	crowd := server.URLAs("crowd", "", "postgres")
	full := func() bool {
		conn, err := pgx.Connect(t.Context(), crowd)
		if err == nil {
			t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
		}
		return err != nil
	}
	// A session that was closed a moment ago makes room when its process ends.
	var c checkReport
	for deadline := time.Now().Add(60 * time.Second); c.Severity != "fault"; {
		if time.Now().After(deadline) {
			t.Fatalf("no room is left, and doctor says %+v", c)
		}
		for !full() {
		}
		c = p.find(p.doctor(), "connection")
	}
	if !strings.Contains(c.Found, "53300") {
		t.Errorf("%+v", c)
	}
	p.recovers(c)
	for range 20 {
		if full() {
			t.Fatal("there is no more room than before")
		}
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
	if want := "name the primary in OUTBOX_DATABASE_URL, or all hosts with target_session_attrs=read-write"; c.Fix[0] != want {
		t.Fatalf("fix %q, want %q", c.Fix, want)
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
	if err := s.Stop(t.Context()); err != nil {
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
		{pgserver.PoolStatement, relay.Fault, "PgBouncer is in between, in transaction mode"},
		{pgserver.PoolSession, relay.Warning, "PgBouncer is in between, in session mode"},
	} {
		pooler := pgtest.Pooler(t, p.server, c.mode)
		var err error
		if p.env["OUTBOX_DATABASE_URL"], err = pooler.Through(direct); err != nil {
			t.Fatal(err)
		}
		found := p.suffers("pooler", c.severity, c.says)
		if c.mode == pgserver.PoolSession {
			p.suffers("replication session", relay.Warning, "unsupported startup parameter")
			p.env["OUTBOX_MODE"] = "replication"
			p.suffers("replication session", relay.Fault)
		}
		address := regexp.MustCompile(`^set OUTBOX_DATABASE_URL to PostgreSQL itself, whose own address is (\S+)$`).FindStringSubmatch(found.Fix[0])
		if address == nil {
			t.Fatalf("fix %q", found.Fix)
		}
		p.env["OUTBOX_DATABASE_URL"] = strings.Replace(p.env["OUTBOX_DATABASE_URL"], hostOf(t, p.env["OUTBOX_DATABASE_URL"]), address[1], 1)
		p.suffers("pooler", relay.Fine, "none in between")
		p.suffers("replication session", relay.Fine)
	}
}

func TestDoctorFixesTheServersSettings(t *testing.T) {
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
	until := func(words ...string) checkReport {
		t.Helper()
		for deadline := time.Now().Add(60 * time.Second); ; {
			c := p.find(p.doctor(), "transactions")
			told := 0
			for _, w := range words {
				if strings.Contains(c.Found, w) {
					told++
				}
			}
			if told == len(words) {
				return c
			}
			if time.Now().After(deadline) {
				t.Fatalf("%+v, want %q", c, words)
			}
		}
	}
	// As the role that may not see since when a session has one open.
	c := until(`prepared transaction "left'behind"`, `application "billing"`, fmt.Sprintf("pid %d", app.PgConn().PID()))
	p.sql("GRANT pg_read_all_stats TO " + p.role)
	if again := until("billing"); strings.Count(again.Found, ") for ") != 2 {
		t.Errorf("%q does not tell both ages", again.Found)
	}
	if c.Severity != "fault" {
		t.Errorf("%+v", c)
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
	p.recovers(p.awaits("visibility gate", relay.Warning, "synchronous_standby_names is set"))
}

func TestDoctorFindsTheRelayTakenForAStandby(t *testing.T) {
	t.Parallel()
	server := pgtest.Own(t, nil)
	p := newPatientOn(t, server, server.URL("postgres"))
	p.suffers("synchronous standbys", relay.Fine)
	p.sql("ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
	p.recovers(p.awaits("synchronous standbys", relay.Warning, "has a *"))
}
