package tail_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgserver"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/tail"
	"github.com/outbox-relay/outbox-relay/schema"
	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// patience is how long a test waits for what should come at once.
const patience = 60 * time.Second

// fixture is a database with an outbox table, its publication and the relay's
// role.
type fixture struct {
	t       testing.TB
	server  *pgserver.Server
	url     string    // the superuser's
	admin   *pgx.Conn // superuser
	table   schema.Table
	options tail.Options
}

var roles atomic.Int64

// setup is a fixture in the shared cluster.
func setup(t testing.TB) *fixture {
	t.Helper()
	return setupOn(t, pgtest.Server(t), pgtest.Database(t), schema.Options{Table: schema.Table{Schema: "public", Name: "outbox"}})
}

func setupOn(t testing.TB, server *pgserver.Server, url string, o schema.Options, ddl ...string) *fixture {
	t.Helper()
	f := &fixture{t: t, server: server, url: url, admin: pgtest.Connect(t, url), table: o.Table}
	for _, sql := range ddl {
		f.exec(sql)
	}
	if err := schema.Migrate(t.Context(), f.admin, o); err != nil {
		t.Fatal(err)
	}
	role := fmt.Sprintf("relay_%d_%d", os.Getpid(), roles.Add(1))
	if err := schema.GrantRole(t.Context(), f.admin, schema.RoleOptions{Table: o.Table, Role: role}, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Without its privileges the role can go, although the database goes later.
		for _, sql := range []string{"DROP OWNED BY " + role + " CASCADE", "DROP ROLE " + role} {
			if _, err := f.admin.Exec(context.WithoutCancel(t.Context()), sql); err != nil && !f.admin.IsClosed() {
				t.Errorf("%s: %v", sql, err)
			}
		}
	})
	f.options = tail.Options{
		Config: f.config(role), Table: o.Table, Publication: o.Publication, ApplicationName: "outbox-relay tail " + role,
	}
	return f
}

func (f *fixture) config(role string) *pgconn.Config {
	f.t.Helper()
	config, err := pgconn.ParseConfig(f.server.URLAs(role, "", f.value("SELECT current_database()")))
	if err != nil {
		f.t.Fatal(err)
	}
	return config
}

// payload gives the payload another type. No trigger may name the column then.
func (f *fixture) payload(is string) {
	f.t.Helper()
	f.exec("DROP TRIGGER " + sqltext.Identifier(f.table.Name+"_guard") + " ON {t}")
	f.exec("ALTER TABLE {t} ALTER COLUMN payload TYPE " + is + " USING NULL::" + is)
}

// exec runs SQL as the superuser; {t} is the table.
func (f *fixture) exec(sql string, args ...any) {
	f.t.Helper()
	execOn(f.t, f.admin, f.sql(sql), args...)
}

func (f *fixture) sql(text string) string {
	return strings.ReplaceAll(text, "{t}", f.table.Quoted())
}

// value returns what a query says, as text.
func (f *fixture) value(sql string, args ...any) string {
	f.t.Helper()
	var v string
	if err := f.admin.QueryRow(f.t.Context(), "SELECT v::text FROM ("+f.sql(sql)+") AS q (v)", args...).Scan(&v); err != nil {
		f.t.Fatalf("%s: %v", sql, err)
	}
	return v
}

func execOn(t testing.TB, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// other is a session of the application's.
func (f *fixture) other() *pgx.Conn {
	f.t.Helper()
	return pgtest.Connect(f.t, f.url)
}

// stream opens and starts a stream, and closes it at the test's end.
func (f *fixture) stream() *tail.Stream {
	f.t.Helper()
	s := f.open()
	if err := s.Start(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	return s
}

func (f *fixture) open() *tail.Stream {
	f.t.Helper()
	s, err := tail.Open(f.t.Context(), f.options)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(s.Close)
	return s
}

// walsenders counts the replication sessions of the fixture.
func (f *fixture) walsenders() string {
	f.t.Helper()
	return f.value("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender' AND application_name = $1",
		f.options.ApplicationName)
}

// slots counts the replication slots of the database.
func (f *fixture) slots() string {
	f.t.Helper()
	return f.value("SELECT count(*) FROM pg_replication_slots WHERE database = current_database()")
}

// gone waits until the server has neither session nor slot of the fixture.
func (f *fixture) gone() {
	f.t.Helper()
	eventually(f.t, "session and slot are gone", func() bool { return f.walsenders() == "0" && f.slots() == "0" })
}

// next reads the next event that is not a keepalive.
func next(t testing.TB, s *tail.Stream) tail.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		ev, err := s.Next(ctx)
		if err != nil {
			t.Fatal("Next:", err)
		}
		if ev.Kind != tail.Keepalive {
			return ev
		}
	}
}

// rows reads the next rows, and checks the transactions around them.
func rows(t testing.TB, s *tail.Stream, n int) []tail.Event {
	t.Helper()
	var found []tail.Event
	var begin tail.Event
	for len(found) < n || begin.Kind != 0 {
		switch ev := next(t, s); ev.Kind {
		case tail.Begin:
			if begin.Kind != 0 {
				t.Fatalf("%+v within %+v", ev, begin)
			}
			begin = ev
		case tail.Row:
			if ev.XID != begin.XID || !ev.CommitTime.Equal(begin.CommitTime) || ev.LSN > begin.LSN {
				t.Fatalf("row %+v in the transaction %+v", ev, begin)
			}
			found = append(found, ev)
		case tail.Commit:
			if ev.XID != begin.XID || ev.LSN <= begin.LSN {
				t.Fatalf("commit %+v of the transaction %+v", ev, begin)
			}
			begin = tail.Event{}
		default:
			t.Fatalf("event %+v", ev)
		}
	}
	if len(found) > n {
		t.Fatalf("%d rows, want %d: %v", len(found), n, topics(found))
	}
	return found
}

func topics(events []tail.Event) string {
	var list []string
	for _, ev := range events {
		list = append(list, ev.Message.Topic)
	}
	return strings.Join(list, " ")
}

// failure reads until the stream fails, at most for limit.
func failure(t testing.TB, s *tail.Stream, limit time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for {
		_, err := s.Next(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			t.Fatal("the stream goes on")
		}
		if err != nil {
			return err
		}
	}
}

// unavailable returns the error's details.
func unavailable(t testing.TB, err error, want tail.Reason) *tail.UnavailableError {
	t.Helper()
	e, ok := errors.AsType[*tail.UnavailableError](err)
	if !ok || e.Reason != want {
		t.Fatalf("error %v, want the reason %v", err, want)
	}
	return e
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline.C:
			t.Fatal("in vain waited until", what)
		case <-tick.C:
		}
	}
}
