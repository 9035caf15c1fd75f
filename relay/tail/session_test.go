package tail_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/faultproxy"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/tail"
	"github.com/outbox-relay/outbox-relay/schema"
)

// throughProxy has the fixture's streams go through a proxy.
func (f *fixture) throughProxy() *faultproxy.Proxy {
	f.t.Helper()
	p, err := faultproxy.Start(f.t.Context(), fmt.Sprintf("127.0.0.1:%d", f.server.Port()))
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		if err := p.Close(); err != nil {
			f.t.Error(err)
		}
	})
	host, port, err := net.SplitHostPort(p.Addr())
	if err != nil {
		f.t.Fatal(err)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		f.t.Fatal(err)
	}
	f.options.Config.Host, f.options.Config.Port = host, uint16(number)
	return p
}

func TestCloseLeavesNothingOnTheServer(t *testing.T) {
	f := setup(t)
	opened, started := f.open(), f.stream()
	if f.walsenders() != "2" || f.slots() != "2" {
		t.Fatalf("%s sessions, %s slots", f.walsenders(), f.slots())
	}
	// One that blocks in Next, and one with more to read than fits the connection.
	blocked := make(chan error, 1)
	waiting := f.stream()
	go func() {
		for {
			if _, err := waiting.Next(context.WithoutCancel(t.Context())); err != nil {
				blocked <- err
				return
			}
		}
	}()
	f.exec("INSERT INTO {t} (topic, payload) SELECT 'x', to_json(repeat('x', 1000)) FROM generate_series(1, 20000)")
	start := time.Now()
	for _, s := range []*tail.Stream{opened, started, waiting} {
		s.Close()
		s.Close() // twice is once
	}
	if took := time.Since(start); took > patience/2 {
		t.Errorf("closing took %s", took)
	}
	if err := <-blocked; !errors.Is(err, tail.ErrClosed) {
		t.Errorf("Next: %v", err)
	}
	for name, err := range map[string]error{"Start": opened.Start(t.Context()), "Next": failure(t, started, patience)} {
		if !errors.Is(err, tail.ErrClosed) {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
	f.gone()
}

func TestEndOfTheSessionIsNoticedAtOnce(t *testing.T) {
	f := setup(t)
	s := f.stream()
	f.exec(insert, "a")
	rows(t, s, 1)
	if f.value("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = $1", f.options.ApplicationName) != "1" {
		t.Fatal("no session was ended")
	}
	err := failure(t, s, patience) // well before any timeout
	if !errors.Is(err, tail.ErrEnded) {
		t.Error(err)
	}
	if again := failure(t, s, patience); !errors.Is(again, err) {
		t.Errorf("then %v", again)
	}
	f.gone()
}

func TestRelayThatVanishesLeavesNothing(t *testing.T) {
	f := setup(t)
	proxy := f.throughProxy()
	s, idle := f.stream(), f.open()
	proxy.Cut()
	if err := failure(t, s, patience); errors.Is(err, tail.ErrClosed) {
		t.Error(err)
	}
	f.gone()
	if err := idle.Start(t.Context()); err == nil {
		t.Error("a stream starts without its connection")
	}
}

// sturdyTimeout is a SenderTimeout that outlasts the stalls of a busy machine.
const sturdyTimeout = 8 * time.Second

func TestSilentServerIsGivenUp(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.options.SenderTimeout = sturdyTimeout
	proxy := f.throughProxy()
	s := f.stream()
	f.exec(insert, "a")
	start := time.Now() // the server's last word comes later
	rows(t, s, 1)
	proxy.Stall(true)
	err := failure(t, s, patience)
	if took := time.Since(start); !errors.Is(err, tail.ErrSilent) || took < f.options.SenderTimeout {
		t.Errorf("after %s: %v", took, err)
	}
	s.Close()
	f.gone() // by wal_sender_timeout
}

func TestStreamThatIsNotReadStaysAlive(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.options.SenderTimeout = sturdyTimeout
	s := f.stream()
	// More than the connection's buffers take: the server is stuck in writing.
	f.exec("INSERT INTO {t} (topic, payload) SELECT 'x', to_json(repeat('x', 10000)) FROM generate_series(1, 2000)")
	begun := f.value("SELECT clock_timestamp()")
	eventually(t, "status updates for longer than the timeout", func() bool {
		return f.value(`SELECT count(*) FROM pg_stat_replication WHERE application_name = $1
			AND reply_time > $2::text::timestamptz + $3 * interval '1 s'`, f.options.ApplicationName, begun, 1.5*sturdyTimeout.Seconds()) == "1"
	})
	rows(t, s, 2000)
}

func TestQuietStreamStaysAlive(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.options.SenderTimeout = sturdyTimeout
	s := f.stream()
	// PostgreSQL 14 tells of others' transactions too, such as autovacuum's, which have no rows.
	tellsOfOthers := f.value("SELECT current_setting('server_version_num')::int / 10000") == "14"
	ctx, cancel := context.WithTimeout(t.Context(), 5*sturdyTimeout/2) // the relay gives up after two
	defer cancel()
	for {
		if ev, err := s.Next(ctx); errors.Is(err, context.DeadlineExceeded) {
			break
		} else if err != nil {
			t.Fatal(err)
		} else if ofOthers := ev.Kind == tail.Begin || ev.Kind == tail.Commit; tellsOfOthers && ofOthers {
			continue
		} else if ev.Kind != tail.Keepalive || ev.LSN < s.From() {
			t.Fatalf("event %+v", ev)
		}
	}
	f.exec(insert, "a")
	rows(t, s, 1)
}

func TestPositionIsConfirmedAsSoonAsItIsRead(t *testing.T) {
	f := setup(t)
	s := f.stream()
	f.exec("INSERT INTO {t} (topic, payload) SELECT 'x', to_json(repeat('x', 1000)) FROM generate_series(1, 5000)")
	lag := func() tail.Lag {
		t.Helper()
		lag, err := tail.Inspect(t.Context(), f.admin.PgConn(), "outbox_relay", f.table, s.Slot())
		if err != nil {
			t.Fatal(err)
		}
		return lag
	}
	before := lag()
	if unread := before.End - before.Read; unread < 5_000_000 || before.Retained < int64(unread) || s.Position() != s.From() {
		t.Fatalf("unread 5 MB: %+v, position %s", before, s.Position())
	}
	found := rows(t, s, 5000)
	if s.Position() <= found[4999].LSN {
		t.Errorf("position %s, the last row is at %s", s.Position(), found[4999].LSN)
	}
	// The server moves restart_lsn when it logs what is running.
	eventually(t, "the slot retains nothing", func() bool {
		f.exec("CHECKPOINT")
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		for {
			if _, err := s.Next(ctx); err != nil {
				break
			}
		}
		now := lag()
		return now.End-now.Read < 100_000 && now.Retained < 100_000
	})
	s.Close()
	eventually(t, "the slot is gone", func() bool {
		_, err := tail.Inspect(t.Context(), f.admin.PgConn(), "outbox_relay", f.table, s.Slot())
		return errors.Is(err, tail.ErrNoSlot)
	})
}

func TestShutdownOfTheServerIsNotHeldUp(t *testing.T) {
	t.Parallel()
	server := pgtest.Own(t, nil)
	f := setupOn(t, server, server.URL("postgres"), schema.Options{Table: outbox})
	f.options.SenderTimeout = 2 * patience // the server does not end the session by itself
	s, idle := f.stream(), f.open()
	stop := make(chan error, 1)
	f.exec("INSERT INTO {t} (topic, payload) SELECT 'x', to_json(repeat('x', 100)) FROM generate_series(1, 20000)")
	rows(t, s, 20_000)
	start := time.Now()
	go func() { stop <- server.Stop(context.WithoutCancel(t.Context())) }()
	err := failure(t, s, patience)
	if !errors.Is(err, tail.ErrEnded) {
		t.Errorf("the stream ends with %v", err)
	}
	if err := <-stop; err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > patience/2 {
		t.Errorf("the shutdown took %s", took)
	}
	if err := idle.Start(t.Context()); err == nil {
		t.Error("a stream starts on a server that has stopped")
	}
}

func TestSessionIsLookedAtBeforeAnythingElse(t *testing.T) {
	f := setup(t)
	refusal := errors.New("another server")
	var seen string
	f.options.Accept = func(ctx context.Context, pg *pgconn.PgConn) error {
		results, err := pg.Exec(ctx, "SELECT current_setting('application_name')").ReadAll()
		if err != nil {
			return err
		}
		seen = string(results[0].Rows[0][0])
		return refusal
	}
	if _, err := tail.Open(t.Context(), f.options); !errors.Is(err, refusal) || !strings.HasPrefix(seen, "outbox-relay tail") {
		t.Errorf("%v, application %q", err, seen)
	}
	f.gone()
}
