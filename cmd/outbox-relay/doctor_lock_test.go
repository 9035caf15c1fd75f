package main

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/relay"
)

// lockNumber is the advisory lock of that name.
func lockNumber(name string) int64 {
	sum := sha256.Sum256([]byte(name))
	return int64(binary.BigEndian.Uint64(sum[:8]))
}

const (
	leadersLock  = `outbox-relay:"public"."outbox"`
	standbysLock = `outbox-relay standby:"public"."outbox"`
)

// stranger is a session of a role that may do nothing but connect.
func (p *patient) stranger(application string) *pgx.Conn {
	p.t.Helper()
	name := "stranger_" + p.role
	p.sql("CREATE ROLE " + name + " LOGIN")
	conn := pgtest.Connect(p.t, p.server.URLAs(name, "", p.value("SELECT current_database()"))+"&application_name="+application)
	return conn
}

func TestDoctorNamesWhoHoldsTheLeadershipLock(t *testing.T) {
	t.Parallel()
	server := pgtest.Own(t, map[string]string{"max_prepared_transactions": "5"})
	p := newPatientOn(t, server, server.URL("postgres"))
	p.suffers("leadership lock", relay.Fine, "free")

	stranger := p.stranger("billing")
	take := func(sql, name string) {
		t.Helper()
		if _, err := stranger.Exec(t.Context(), fmt.Sprintf(sql, lockNumber(name))); err != nil {
			t.Fatal(err)
		}
	}
	// The relay's role learns the state of other roles' sessions only as a monitor.
	p.sql("GRANT pg_monitor TO " + p.role)
	take("SELECT pg_advisory_lock_shared(%d)", leadersLock)
	take("SELECT pg_advisory_lock_shared(%d)", standbysLock)
	pid := fmt.Sprint(stranger.PgConn().PID())
	leader := p.suffers("leadership lock", relay.Fault, "pid "+pid, `application "billing"`, `role "stranger_`+p.role, "idle", "not a working relay")
	standby := p.suffers("standbys", relay.Warning, "pid "+pid, "billing")
	for _, c := range []checkReport{leader, standby} {
		if want := "SELECT pg_terminate_backend(" + pid + ");"; len(c.Fix) != 1 || !strings.HasPrefix(c.Fix[0], want) {
			t.Errorf("%s: fix %q, want %q", c.Name, c.Fix, want)
		}
	}
	p.recovers(leader)

	p.sql(fmt.Sprintf("BEGIN; SELECT pg_advisory_xact_lock(%d); PREPARE TRANSACTION E'x\\n''y'", lockNumber(leadersLock)))
	prepared := p.suffers("leadership lock", relay.Fault, "prepared transaction", "no relay")
	if want := `ROLLBACK PREPARED 'x ''y';`; len(prepared.Fix) != 1 || !strings.HasPrefix(prepared.Fix[0], want) {
		t.Errorf("fix %q, want %q on one line", prepared.Fix, want)
	}
	p.sql(`ROLLBACK PREPARED E'x\n''y'`)

	// A relay is one.
	p.relays()
	p.awaits("leadership lock", relay.Fine, "held by the relay that leads", "outbox-relay public.outbox "+hostname())
}
