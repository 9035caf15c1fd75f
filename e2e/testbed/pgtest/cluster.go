package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgserver"
)

// shared is the cluster of the running test binary.
var shared cluster

// cluster starts a server at its first use. A failed start is not repeated: the
// next tests would only wait for the same error.
type cluster struct {
	once   sync.Once
	server *pgserver.Server
	err    error
}

// settings of the shared cluster: one test's large transaction must not start a
// checkpoint in the next one's time, and applications may commit in two phases.
var settings = map[string]string{"max_wal_size": "4GB", "max_prepared_transactions": "20"}

var errMain = errors.New("the test package's TestMain does not call pgtest.Main")

// atEnd is what Main does after the tests, before it looks for goroutines.
var atEnd []func() error

// AtEnd has f called once all tests of a package with [Main] have run, for other
// servers that they share. Not safe for concurrent use.
func AtEnd(f func() error) { atEnd = append(atEnd, f) }

// Main runs the tests of a package, stops the shared cluster, and then looks for
// goroutines that nobody ended. The result is the exit status.
func Main(m *testing.M, ignored ...goleak.Option) int {
	inMain = true
	code := m.Run()
	for _, end := range atEnd {
		if err := end(); err != nil {
			fmt.Fprintln(os.Stderr, "pgtest: end of the tests:", err)
			code = max(code, 1)
		}
	}
	if s := shared.server; s != nil {
		if err := s.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "pgtest: stop the shared cluster:", err)
			code = max(code, 1)
		}
	}
	if code != 0 {
		// A failed test may leave goroutines. Its failure is the news, not they.
		return code
	}
	if err := goleak.Find(ignored...); err != nil {
		fmt.Fprintln(os.Stderr, "pgtest: goroutines left after the tests:", err)
		return 1
	}
	return 0
}

// inMain is written before the tests start and only read by them.
var inMain bool

// Server returns the package's shared cluster. It must not be stopped.
func Server(t testing.TB) *pgserver.Server {
	t.Helper()
	if !inMain {
		t.Fatal(errMain)
	}
	shared.once.Do(func() {
		// Not the context of the test that happens to be the first.
		shared.server, shared.err = pgserver.Start(context.WithoutCancel(t.Context()), pgserver.Options{Settings: settings})
	})
	if shared.err != nil {
		t.Fatal("start the shared cluster:", shared.err)
	}
	return shared.server
}

// Own starts a cluster for this test alone and closes it at the test's end. When
// the test has failed, the end of the server's log is in its output.
func Own(t testing.TB, settings map[string]string) *pgserver.Server {
	t.Helper()
	s, err := pgserver.Start(t.Context(), pgserver.Options{Settings: settings})
	if err != nil {
		t.Fatal("start a cluster:", err)
	}
	closeAtEnd(t, s)
	return s
}

// Older starts a cluster of an older major version, as [Own] does, or skips the test where there
// is none.
func Older(t testing.TB, settings map[string]string) *pgserver.Server {
	t.Helper()
	bin, err := pgserver.OlderBinaries()
	if errors.Is(err, pgserver.ErrNoBinaries) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal("find an older version:", err)
	}
	s, err := pgserver.Start(t.Context(), pgserver.Options{Settings: settings, Bin: bin})
	if err != nil {
		t.Fatal("start a cluster of an older version:", err)
	}
	closeAtEnd(t, s)
	return s
}

// Upgraded stops the test's own cluster, upgrades it, and closes the new one as [Own] does.
func Upgraded(t testing.TB, s *pgserver.Server) *pgserver.Server {
	t.Helper()
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal("stop a cluster:", err)
	}
	upgraded, err := s.Upgrade(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	closeAtEnd(t, upgraded)
	return upgraded
}

// Standby starts a streaming standby of the test's own cluster, and closes it as
// [Own] does.
func Standby(t testing.TB, primary *pgserver.Server, o pgserver.StandbyOptions) *pgserver.Server {
	t.Helper()
	s, err := primary.Standby(t.Context(), o)
	if err != nil {
		t.Fatal("start a standby:", err)
	}
	closeAtEnd(t, s)
	return s
}

// Pooler starts a PgBouncer before the server, with further lines of its
// configuration, and closes it at the test's end.
func Pooler(t testing.TB, s *pgserver.Server, mode pgserver.PoolMode, settings ...string) *pgserver.Pooler {
	t.Helper()
	p, err := pgserver.StartPooler(t.Context(), s, mode, settings...)
	if err != nil {
		t.Fatal("start a pooler:", err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error("close the pooler:", err)
		}
	})
	return p
}

func closeAtEnd(t testing.TB, s *pgserver.Server) {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log of PostgreSQL on port %d ends:\n%s", s.Port(), testbed.Tail(s.LogFile()))
		}
		if err := s.Close(); err != nil {
			t.Error("close the test's cluster:", err)
		}
	})
}
