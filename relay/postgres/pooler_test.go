package postgres_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgserver"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

// through puts a pooler between the relay and the server, and returns the
// application's URL by way of it.
func (f *fixture) through(mode pgserver.PoolMode, settings ...string) string {
	f.t.Helper()
	pooler := pgtest.Pooler(f.t, pgtest.Server(f.t), mode, settings...)
	url, err := pooler.Through(f.url)
	if err != nil {
		f.t.Fatal(err)
	}
	f.options.URL = url
	return url
}

// pooled runs n clients at once, each of which gets a connection of its own, and
// returns what each of these has set. They stay in the pool.
func (f *fixture) pooled(url string, n int) (settings []string) {
	f.t.Helper()
	const ask = `SELECT concat_ws(' ', current_setting('search_path'), current_setting('synchronous_commit'),
		current_setting('idle_session_timeout'), current_setting('lock_timeout'), current_setting('enable_seqscan'))`
	var clients []*pgx.Conn
	for range n {
		c := pgtest.Connect(f.t, url)
		clients = append(clients, c)
		for _, sql := range []string{"BEGIN", ask} {
			var s string
			err := c.QueryRow(f.t.Context(), sql, pgx.QueryExecModeSimpleProtocol).Scan(&s)
			if err != nil && !errors.Is(err, pgx.ErrNoRows) {
				f.t.Fatal(sql, err)
			}
			if s != "" {
				settings = append(settings, s)
			}
		}
	}
	for _, c := range clients {
		if _, err := c.Exec(f.t.Context(), "COMMIT"); err != nil {
			f.t.Fatal(err)
		}
		_ = c.Close(f.t.Context())
	}
	return settings
}

const untouchedSettings = `"$user", public on 0 0 on`

// locks counts the advisory locks in the database.
func (f *fixture) locks() int64 {
	f.t.Helper()
	return f.value(`SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`).(int64)
}

// Rule 20: the settings and the lock would stay on the application's connections.
func TestNothingIsSetThroughATransactionPooler(t *testing.T) {
	t.Parallel()
	for name, settings := range map[string]string{
		"the last one first":    "server_round_robin = 0",
		"in turn":               "server_round_robin = 1",
		"of one connection":     "default_pool_size = 1",
		"of two, lent in turns": "default_pool_size = 2\nserver_round_robin = 1",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t, shape{})
			size := 4
			if _, err := fmt.Sscanf(settings, "default_pool_size = %d", &size); err != nil {
				size = 4
			}
			url := f.through(pgserver.PoolTransaction, settings)
			f.pooled(url, size)
			for range 5 {
				f.wantFault("pooler in transaction mode", fmt.Sprintf("whose own address is 127.0.0.1:%d", pgtest.Server(t).Port()))
			}
			for _, s := range f.pooled(url, size) {
				if s != untouchedSettings {
					t.Errorf("a connection of the pool has the settings %q", s)
				}
			}
			if n := f.locks(); n != 0 {
				t.Errorf("%d advisory locks", n)
			}
			f.options.URL = f.url
			if !tryLead(t, f.connect()) {
				t.Error("a relay on the direct URL cannot lead")
			}
		})
	}
}

// A transaction pooler that is busy lends the connection that a client has asked about to
// somebody else, before the next client looks. That one gets another connection, and
// only the time of the last use tells.
func TestConnectionThatWasUsedIsNoClientsOwn(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	first, other := pgtest.Connect(t, f.url), pgtest.Connect(t, f.url)
	somebody := func() error {
		_, err := first.Exec(t.Context(), "SELECT 1", pgx.QueryExecModeSimpleProtocol)
		return err
	}
	for _, c := range []struct {
		use  func() error
		want bool
	}{{func() error { return nil }, false}, {somebody, true}} {
		shared, err := postgres.UsedSince(t.Context(), first, other, c.use)
		if err != nil || shared != c.want {
			t.Errorf("shared: %t, %v; want %t", shared, err, c.want)
		}
	}
}

// Transactions of the application's take the connections in any order meanwhile.
func TestTransactionPoolerIsRecognisedUnderLoad(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	url := f.through(pgserver.PoolTransaction, "default_pool_size = 5")
	stop := make(chan struct{})
	done := make(chan error, 8)
	for range cap(done) {
		c := pgtest.Connect(t, url)
		go func() {
			for {
				select {
				case <-stop:
					done <- nil
					return
				default:
				}
				if _, err := c.Exec(t.Context(), "SELECT 1", pgx.QueryExecModeSimpleProtocol); err != nil {
					done <- err
					return
				}
			}
		}()
	}
	for range 30 {
		f.wantFault("pooler in transaction mode")
	}
	close(stop)
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// A statement pooler refuses the very transactions by which the others are told apart.
func TestNothingIsSetThroughAStatementPooler(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	url := f.through(pgserver.PoolStatement, "server_round_robin = 1")
	napped := make(chan error, 4)
	for range cap(napped) { // a connection each
		c := pgtest.Connect(t, url)
		go func() {
			_, err := c.Exec(t.Context(), "SELECT pg_sleep(0.5)", pgx.QueryExecModeSimpleProtocol)
			napped <- err
		}()
	}
	for range cap(napped) {
		if err := <-napped; err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		f.wantFault("pooler in transaction mode")
	}
	if n := f.locks(); n != 0 {
		t.Errorf("%d advisory locks", n)
	}
}

// Rule 20: each client of a session pooler has a connection of its own, of which
// the pooler tells it another process than the server does.
func TestRelayWorksThroughASessionPooler(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.through(pgserver.PoolSession)
	f.insert(3)
	c, s := f.lead()
	rows := f.readPass(s)
	if done := mark(t, c, refs(rows)...); len(done) != 3 || f.count(`sent_at IS NOT NULL`) != 3 {
		t.Errorf("%d rows read, %d marked", len(rows), len(done))
	}
	if survey, err := s.Survey(t.Context(), request(relay.Pass{})); err != nil || !survey.Complete {
		t.Errorf("survey: %+v, %v", survey, err)
	}
	d := f.database()
	standby, mortal := f.connectMortal()
	if tryLead(t, standby) {
		t.Fatal("two lead")
	}
	if _, err := d.OpenReader(t.Context(), standby); !errors.Is(err, relay.ErrNotLeader) {
		t.Error("a read session of one that does not lead:", err)
	}
	if err := standby.AwaitHandover(t.Context(), 0, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	woken := make(chan error, 1)
	go func() { woken <- standby.AwaitHandover(t.Context(), 0, time.Minute) }()
	if err := c.Resign(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-woken; err != nil || !tryLead(t, standby) {
		t.Error("the standby cannot take over:", err)
	}
	mortal() // Rule 13 holds too.
	eventually(t, "the silent leader is ended", func() bool { return tryLead(t, c) })
	// The one that resigned is not woken by its own farewell.
	if err := c.AwaitHandover(t.Context(), 0, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if err := c.Resign(t.Context()); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := c.AwaitHandover(t.Context(), 0, 100*time.Millisecond); err != nil || time.Since(start) < 100*time.Millisecond {
		t.Errorf("%v after %s", err, time.Since(start))
	}
}

// A pooler that does not reset what it takes back would lend it out as it is.
func TestSessionsAreGivenBackToThePoolerAsTheyWere(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	url := f.through(pgserver.PoolSession, "server_reset_query =", "default_pool_size = 4")
	c, s := f.lead()
	s.Close()
	c.Close()
	if got := strings.Join(f.pooled(url, 4), "; "); strings.Contains(got, "pg_catalog") {
		t.Errorf("the connections have the settings %s", got)
	}
	if n := f.locks(); n != 0 {
		t.Errorf("%d advisory locks", n)
	}
}

// The control session has proved what its own pooler does, and no other's.
func TestReadingThroughAnotherPoolerIsRefused(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	c := f.connect()
	if !tryLead(t, c) {
		t.Fatal("no leader")
	}
	url := f.through(pgserver.PoolTransaction)
	if _, err := f.database().OpenReader(t.Context(), c); !errors.Is(err, relay.ErrNotLeader) {
		t.Error(err)
	}
	if got := f.pooled(url, 1)[0]; got != untouchedSettings {
		t.Errorf("a connection of the pool has the settings %q", got)
	}
}
