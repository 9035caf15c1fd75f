package postgres_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/relay"
)

func (f *fixture) holder(c relay.Control) relay.LockHolder {
	f.t.Helper()
	h, err := c.Holder(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	return h
}

// lockKey is the key of the leadership lock, which a relay holds for a moment.
func (f *fixture) lockKey() int64 {
	f.t.Helper()
	c := f.connect()
	defer c.Close()
	if leads, err := c.TryLead(f.t.Context()); err != nil || !leads {
		f.t.Fatal("no leader:", err)
	}
	key := f.value(`SELECT classid::bigint << 32 | objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock'
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`).(int64)
	c.Close()
	eventually(f.t, "the lock is free", func() bool { return f.locks() == 0 })
	return key
}

// as connects an application under a name of its choice.
func (f *fixture) as(application string) *pgx.Conn {
	f.t.Helper()
	conn := f.other()
	if _, err := conn.Exec(f.t.Context(), "SELECT set_config('application_name', $1, false)", application); err != nil {
		f.t.Fatal(err)
	}
	return conn
}

func TestHolderOfTheLockIsNamed(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	key := f.lockKey()
	standby := f.connect()
	if h := f.holder(standby); !h.Nobody() || h.Relay {
		t.Errorf("nobody holds it: %+v", h)
	}
	leader := f.connect()
	if !tryLead(t, leader) {
		t.Fatal("no leader")
	}
	if h := f.holder(standby); !h.Relay || h.Application != "outbox-relay public.outbox test" || h.State != "idle" {
		t.Errorf("a relay holds it: %+v", h)
	}
	leader.Close()
	eventually(t, "the lock is free", func() bool { return f.holder(standby).Nobody() })

	for name, lock := range map[string]string{
		"exclusively": "SELECT pg_advisory_lock(%d)", "shared": "SELECT pg_advisory_lock_shared(%d)",
		"for a transaction": "BEGIN; SELECT pg_advisory_xact_lock(%d)",
	} {
		for _, application := range []string{"psql", "outbox-relay other.outbox host"} {
			conn := f.as(application)
			if _, err := conn.Exec(t.Context(), fmt.Sprintf(lock, key)); err != nil {
				t.Fatal(err)
			}
			h := f.holder(standby)
			if h.Relay || h.PID != int64(conn.PgConn().PID()) || h.Application != application {
				t.Errorf("%s by %s: %+v", name, application, h)
			}
			f.exec(h.Release)
			eventually(t, "the statement frees it", func() bool { return f.holder(standby).Nobody() })
		}
	}

	conn := f.as("batch")
	for _, sql := range []string{"BEGIN", fmt.Sprintf("SELECT pg_advisory_xact_lock(%d)", key), "PREPARE TRANSACTION 'it''s " + f.role() + "'"} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	h := f.holder(standby)
	if h.Relay || h.PID != 0 || !strings.HasPrefix(h.Prepared, "it's ") {
		t.Errorf("a prepared transaction: %+v", h)
	}
	f.exec(h.Release)
	if !tryLead(t, standby) {
		t.Error("the lock is not free")
	}
}

// Rule 18: a backend keeps its name, and the lock, while it waits for a synchronous
// standby, also when its relay was killed. No relay is silent for so long.
func TestSilentHolderOfTheLockIsNoRelay(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	key := f.lockKey()
	conn := pgtest.Connect(t, f.url)
	if _, err := conn.Exec(t.Context(), "SET application_name = 'outbox-relay public.outbox host'"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "SELECT pg_advisory_lock($1)", key); err != nil {
		t.Fatal(err)
	}
	standby := f.connect()
	if h := f.holder(standby); !h.Relay {
		t.Errorf("it was silent for %v: %+v", h.Quiet, h)
	}
	eventuallyIn(t, 2*patience, "it is taken for no relay", func() bool { return !f.holder(standby).Relay })
	if h := f.holder(standby); h.Quiet < 19*time.Second || !strings.Contains(h.String(), "idle for 2") {
		t.Errorf("%+v: %s", h, h)
	}
}
