package postgres_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
	"github.com/outbox-relay/outbox-relay/schema"
	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// fixture is a fresh database with an outbox table and the relay's role.
type fixture struct {
	t       testing.TB
	admin   *pgx.Conn // superuser
	url     string    // of the relay's role
	table   schema.Table
	options postgres.Options
}

// shape varies a fixture; the zero value is the usual one.
type shape struct {
	table    string
	payload  schema.PayloadType
	after    postgres.AfterSend
	database string // CREATE DATABASE's options, for other encodings
	made     string // SQL that makes the table, which the migration then extends
}

var roles atomic.Int64

func setup(t testing.TB, s shape) *fixture {
	t.Helper()
	if s.table == "" {
		s.table = "outbox"
	}
	table, err := schema.ParseTable(s.table)
	if err != nil {
		t.Fatal(err)
	}
	url := pgtest.Database(t)
	if s.database != "" {
		url = encoded(t, url, s.database)
	}
	f := &fixture{t: t, admin: pgtest.Connect(t, url), table: table}
	if s.made != "" {
		if err := f.admin.PgConn().Exec(t.Context(), s.made).Close(); err != nil {
			t.Fatal(err)
		}
	}
	err = schema.Migrate(t.Context(), f.admin, schema.Options{Table: table, PayloadType: s.payload, Publication: "outbox_relay"})
	if err != nil {
		t.Fatal(err)
	}
	role, password := fmt.Sprintf("relay_%d_%d", os.Getpid(), roles.Add(1)), "s3cret/?@:"
	err = schema.GrantRole(t.Context(), f.admin,
		schema.RoleOptions{Table: table, Role: role, Delete: s.after == postgres.Delete}, password)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Without its privileges the role can go, although the database goes later.
		for _, sql := range []string{"DROP OWNED BY " + role + " CASCADE", "DROP ROLE " + role} {
			if _, err := f.admin.Exec(context.WithoutCancel(t.Context()), sql); err != nil {
				t.Errorf("%s: %v", sql, err)
			}
		}
	})
	f.url = pgtest.Server(t).URLAs(role, password, f.value("SELECT current_database()").(string))
	f.options = postgres.Options{URL: f.url, Table: table, AfterSend: s.after, Host: "test"}
	return f
}

// encoded recreates the database with options.
func encoded(t testing.TB, url, options string) string {
	t.Helper()
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	admin := pgtest.Connect(t, pgtest.Server(t).URL("postgres"))
	for _, sql := range []string{
		"DROP DATABASE " + config.Database,
		"CREATE DATABASE " + config.Database + " TEMPLATE template0 " + options,
	} {
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	return url
}

func (f *fixture) database() *postgres.Database {
	f.t.Helper()
	d, err := postgres.New(f.options)
	if err != nil {
		f.t.Fatal(err)
	}
	return d
}

// connect opens a control session. It may be silent for longer than a relay's: a busy
// machine stops a test for seconds.
func (f *fixture) connect() relay.Control {
	f.t.Helper()
	c, _ := f.connectMortal()
	return c
}

// connectMortal is connect. From mortal on the server ends the session after the silence
// that a relay's may have.
func (f *fixture) connectMortal() (c relay.Control, mortal func()) {
	f.t.Helper()
	var limit string
	c = insist(f.t, func() (c relay.Control, err error) {
		if c, err = f.database().Connect(f.t.Context()); err == nil {
			f.t.Cleanup(c.Close)
			limit, err = postgres.SetSilence(f.t.Context(), c, "10min")
		}
		return c, err
	})
	return c, func() {
		f.t.Helper()
		if _, err := postgres.SetSilence(f.t.Context(), c, limit); err != nil {
			f.t.Fatal(err)
		}
	}
}

// lead returns the sessions of a leader. The one before it may have been closed a moment
// ago: the server frees its lock a little later.
func (f *fixture) lead() (relay.Control, relay.Reader) {
	f.t.Helper()
	c := f.connect()
	eventually(f.t, "the lock is free", func() bool {
		leads, err := c.TryLead(f.t.Context())
		if err != nil {
			f.t.Fatal("TryLead:", err)
		}
		return leads
	})
	s := insist(f.t, func() (relay.Reader, error) { return f.database().OpenReader(f.t.Context(), c) })
	f.t.Cleanup(s.Close)
	return c, s
}

// insist opens a session as the relay does, again and again: a tiny timeout that
// the test has set may end the very statement that takes it away, and a test that stands
// still in between is too silent.
func insist[T any](t testing.TB, open func() (T, error)) T {
	t.Helper()
	for begun := time.Now(); ; {
		session, err := open()
		if code := sqltext.Code(err); (code == "57014" || code == "57P05") && time.Since(begun) < patience {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		return session
	}
}

// role is the relay's, quoted.
func (f *fixture) role() string {
	f.t.Helper()
	config, err := pgx.ParseConfig(f.url)
	if err != nil {
		f.t.Fatal(err)
	}
	return sqltext.Identifier(config.User)
}

// exec runs SQL as the superuser; {t} is the table.
func (f *fixture) exec(sql string, args ...any) {
	f.t.Helper()
	if _, err := f.admin.Exec(f.t.Context(), f.sql(sql), args...); err != nil {
		f.t.Fatalf("%s: %v", f.sql(sql), err)
	}
}

func (f *fixture) value(sql string, args ...any) any {
	f.t.Helper()
	var v any
	if err := f.admin.QueryRow(f.t.Context(), f.sql(sql), args...).Scan(&v); err != nil {
		f.t.Fatalf("%s: %v", f.sql(sql), err)
	}
	return v
}

func (f *fixture) count(condition string) int64 {
	f.t.Helper()
	return f.value("SELECT count(*) FROM {t} WHERE " + condition).(int64)
}

func (f *fixture) sql(text string) string {
	return strings.ReplaceAll(text, "{t}", f.table.Quoted())
}

// other is a session of the application's.
func (f *fixture) other() *pgx.Conn {
	f.t.Helper()
	return pgtest.Connect(f.t, f.admin.Config().ConnString())
}

// request asks for everything.
func request(p relay.Pass) relay.ChunkRequest {
	return relay.ChunkRequest{Pass: p, After: -1 << 63, Rows: 100_000, Bytes: 1 << 30}
}

func (f *fixture) begin(s relay.Reader) relay.Pass {
	f.t.Helper()
	p, err := s.Begin(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	return p
}

func (f *fixture) chunk(s relay.Reader, req relay.ChunkRequest) relay.Chunk {
	f.t.Helper()
	c, err := s.Chunk(f.t.Context(), req)
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

// readPass reads a whole pass.
func (f *fixture) readPass(s relay.Reader) []relay.Row {
	f.t.Helper()
	return f.drain(s, request(f.begin(s)))
}

// drain reads chunk after chunk as the relay does.
func (f *fixture) drain(s relay.Reader, req relay.ChunkRequest) []relay.Row {
	f.t.Helper()
	var rows []relay.Row
	for range 100_000 {
		c := f.chunk(s, req)
		rows = append(rows, c.Rows...)
		if c.Done {
			return rows
		}
		if c.NextSize > req.Bytes {
			alone := req
			alone.Bytes = c.NextSize
			c = f.chunk(s, alone)
			if len(c.Rows) == 0 {
				f.t.Fatalf("a row of %d bytes is not admitted alone: %+v", alone.Bytes, c)
			}
			rows = append(rows, c.Rows...)
		}
		if c.Cursor <= req.After {
			f.t.Fatalf("no progress after %d: %+v", req.After, c)
		}
		req.After = c.Cursor
	}
	f.t.Fatal("the pass does not end")
	return nil
}

func ids(rows []relay.Row) []int64 {
	list := make([]int64, 0, len(rows))
	for _, r := range rows {
		list = append(list, r.ID)
	}
	return list
}

func refs(rows []relay.Row) []relay.Ref {
	list := make([]relay.Ref, 0, len(rows))
	for _, r := range rows {
		list = append(list, r.Ref)
	}
	return list
}

func marks(refs ...relay.Ref) []relay.Mark {
	list := make([]relay.Mark, 0, len(refs))
	for _, r := range refs {
		list = append(list, relay.Mark{Ref: r})
	}
	return list
}

// patience bounds what has to happen soon.
const patience = 60 * time.Second

// eventually waits for a condition.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	eventuallyIn(t, patience, what, holds)
}

func eventuallyIn(t testing.TB, d time.Duration, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			t.Fatal("in vain waited until", what)
		case <-tick.C:
		}
	}
}
