package engine_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/engine"
)

// auditing is a trigger whose own table is missing: it fails for every row.
const auditing = `CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS
	$$BEGIN INSERT INTO public.audit_log VALUES (NEW.id); RETURN NEW; END$$;
	CREATE TRIGGER audit BEFORE UPDATE ON outbox FOR EACH ROW EXECUTE FUNCTION audit()`

// untilTableDown waits until the table's breaker has opened and names the cause.
func (h *harness) untilTableDown(cause string) {
	h.Helper()
	h.until("the status says why no row can be marked: "+cause, func() bool {
		s := h.relay.Status()
		return strings.Contains(s.TableDown, cause) && !s.TableDownSince.IsZero()
	})
}

// probesIn is how many rows may have been published for a try since the table's breaker
// opened: after 0.1 s, 0.2 s, 0.4 s and so on.
func probesIn(h *harness) int { return probesSince(h.relay.Status().TableDownSince) }

func probesSince(opened time.Time) (n int) {
	open := time.Since(opened)
	for pause := 100 * time.Millisecond; open > 0; pause *= 2 {
		open -= pause
		n++
	}
	return n
}

// No mark succeeds from the start: a row now and then is published to see whether
// that is over, the true cause is told, and all is sent, once, when it is gone.
// (Rule 17.)
func TestMarksThatAllFailStopThePublishing(t *testing.T) {
	h := start(t, nil, nil)
	h.insert(1000)
	h.exec(auditing)
	h.run()
	h.untilTableDown(`relation "public.audit_log" does not exist`)
	s := h.relay.Status()
	if strings.Contains(s.TableDown, "migrate") || !strings.Contains(s.TableDown, "PL/pgSQL function public.audit() line 1") {
		t.Errorf("the cause is told as %q", s.TableDown)
	}
	h.untilLogged("no row can be marked")
	const probes = 5
	h.until("some rows are tried", func() bool { return len(h.sink.ids()) == probes })
	if open := time.Since(s.TableDownSince); open < time.Second { // 0.1 + 0.2 + 0.4 + 0.8 s
		t.Errorf("%d rows were published within %v", probes, open)
	}
	if h.relay.Status().Mode.Leads() != true || strings.Contains(h.log.String(), "no longer leading") {
		t.Error("the term has ended")
	}
	h.exec(`DROP TRIGGER audit ON outbox`)
	h.untilMarked(1000)
	h.until("the fault is over", func() bool { return h.relay.Status().TableDown == "" })
	if ids := h.sink.ids(); len(ids) != 1000 {
		t.Errorf("%d rows were published, want each of 1000 once", len(ids))
	}
}

// The marks begin to fail under load: no more than a window is published, and
// nothing twice. (Rule 17.)
func TestMarksThatBeginToFailCostAWindowAtMost(t *testing.T) {
	const window = 64
	h := start(t, func(c *engine.Config) { c.MaxInFlight = window }, nil)
	h.run()
	h.insert(20_000)
	h.until("some rows are marked", func() bool { return h.unsent() < 19_000 })
	h.exec(auditing)
	h.untilTableDown("audit_log")
	marked := 20_000 - int(h.unsent())
	h.until("more rows are tried", func() bool { return time.Since(h.relay.Status().TableDownSince) > 3*time.Second })
	if n, probes := len(h.sink.ids()), probesIn(h); n > marked+window+probes {
		t.Errorf("%d rows were published and %d marked with a window of %d", n, marked, window)
	}
	h.exec(`DROP TRIGGER audit ON outbox`)
	h.untilMarked(20_000)
	if n := len(h.sink.ids()); n != 20_000 {
		t.Errorf("%d rows were published, want each of 20000 once", n)
	}
}

// A relay that is thrown out of its session again and again beside such a table
// publishes one row a term, and not a window. (Rule 17.)
func TestTermsBeginWithOneRow(t *testing.T) {
	h := start(t, nil, nil)
	h.insert(1000)
	h.exec(auditing)
	h.run()
	const terms = 4
	most := 1 // the term that begins after the last one
	for term := range terms {
		h.until("a term has begun", func() bool { return strings.Count(h.log.String(), "msg=leading") == term+1 })
		h.untilTableDown("audit_log")
		opened := h.relay.Status().TableDownSince
		h.exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE datname = current_database() AND application_name LIKE 'outbox-relay %'`)
		most += 1 + probesSince(opened)
	}
	if n := len(h.sink.ids()); n > most {
		t.Errorf("%d rows were published in %d terms without a mark, want %d at most", n, terms, most)
	}
	h.exec(`DROP TRIGGER audit ON outbox`)
	h.untilMarked(1000)
}

// The role loses the privilege to mark. (Rule 17.)
func TestRevokedPrivilegeIsToldAndHeals(t *testing.T) {
	h, role := startAs(t, nil)
	stop := h.run()
	h.insert(100)
	h.untilMarked(100)
	h.exec(`REVOKE UPDATE ON outbox FROM ` + role)
	h.exec(`DO $$BEGIN EXECUTE (SELECT format('REVOKE UPDATE (%s) ON outbox FROM ` + role + `', string_agg(quote_ident(attname), ', '))
		FROM pg_attribute WHERE attrelid = 'outbox'::regclass AND attnum > 0 AND NOT attisdropped); END$$`)
	h.insert(500)
	h.untilTableDown("the role lacks a privilege on public.outbox")
	h.exec(`GRANT UPDATE ON outbox TO ` + role)
	h.untilMarked(600)
	if n := len(h.sink.ids()); n != 600 {
		t.Errorf("%d rows were published, want each of 600 once", n)
	}
	stop()
}

// The disk of the outbox table is full. (Rule 17.)
func TestFullDiskStopsThePublishing(t *testing.T) {
	const rows = 5000
	h := start(t, nil, nil)
	space := fmt.Sprintf("small_%d", os.Getpid())
	h.exec(`CREATE TABLESPACE ` + space + ` LOCATION '` + smallDisk(h) + `'`)
	h.exec(`ALTER TABLE outbox SET TABLESPACE ` + space)
	h.exec(`CREATE TABLE filler TABLESPACE ` + space + ` AS SELECT repeat('x', 900) AS t`)
	t.Cleanup(func() {
		for _, sql := range []string{`DROP TABLE outbox`, `DROP TABLESPACE ` + space} {
			if _, err := h.conn.Exec(context.WithoutCancel(t.Context()), sql); err != nil {
				t.Errorf("%s: %v", sql, err)
			}
		}
	})
	h.insert(rows)
	open := h.begin() // so that no mark takes the place of a row's version before another
	if _, err := open.Exec(t.Context(), `SELECT pg_current_xact_id()`); err != nil {
		t.Fatal(err)
	}
	h.exec(`DO $$BEGIN
		FOR n IN 1..100000 LOOP BEGIN INSERT INTO filler VALUES (repeat('x', 900)); EXCEPTION WHEN disk_full THEN EXIT; END; END LOOP;
	END$$`)
	stop := h.run()
	h.untilTableDown("No space left on device")
	if published, marked := len(h.sink.ids()), rows-int(h.unsent()); published > marked+h.config.MaxInFlight+3 { // and the first probes
		t.Errorf("%d rows were published and %d marked", published, marked)
	}
	h.exec(`DROP TABLE filler`)
	h.untilMarked(rows)
	if n := len(h.sink.ids()); n != rows {
		t.Errorf("%d rows were published, want each of %d once", n, rows)
	}
	stop()
	h.commit(open)
}

// smallDisk mounts a file system of 8 MB that belongs to the server's user.
func smallDisk(h *harness) string {
	h.Helper()
	var data string
	if err := h.conn.QueryRow(h.Context(), "SHOW data_directory").Scan(&data); err != nil {
		h.Fatal(err)
	}
	owner, err := os.Stat(data)
	if err != nil {
		h.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "small-disk-")
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { _ = os.Remove(dir) })
	uid := owner.Sys().(*syscall.Stat_t).Uid
	options := fmt.Sprintf("size=8m,mode=700,uid=%d", uid)
	if out, err := exec.CommandContext(h.Context(), "mount", "-t", "tmpfs", "-o", options, "tmpfs", dir).CombinedOutput(); err != nil {
		h.Skipf("this user cannot mount a small file system: %v: %s", err, out)
	}
	h.Cleanup(func() {
		if out, err := exec.CommandContext(context.WithoutCancel(h.Context()), "umount", "-l", dir).CombinedOutput(); err != nil {
			h.Errorf("umount: %v: %s", err, out)
		}
	})
	return dir
}
