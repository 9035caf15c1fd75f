package e2e_test

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
)

// Secrets that are rotated while the relay runs, as a Secret of Kubernetes or an
// agent of a vault does: the file gets new content, the old password is refused
// from then on, and sessions end one day.

// secretFile is what a _FILE variable names.
type secretFile struct {
	t    testing.TB
	path string
}

func newSecretFile(t testing.TB, content string) secretFile {
	t.Helper()
	f := secretFile{t, filepath.Join(t.TempDir(), "secret")}
	f.write(content)
	return f
}

func (f secretFile) write(content string) {
	f.t.Helper()
	if err := os.WriteFile(f.path, []byte(content), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func (f secretFile) remove() {
	f.t.Helper()
	if err := os.Remove(f.path); err != nil {
		f.t.Fatal(err)
	}
}

// setFile has relays read a variable from a file.
func (w *world) setFile(variable string, f secretFile) {
	delete(w.env, variable)
	w.env[variable+"_FILE"] = f.path
}

// urlWith is a URL with another password.
func urlWith(t testing.TB, text, password string) string {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(u.User.Username(), password)
	return u.String()
}

// rotation is one secret that is replaced beside a relay under load.
type rotation struct {
	secret    string   // what it is
	variables []string // of the relay that uses it
	begin     func()   // has the server take the first one; nil: it does
	revoke    func()   // has the server take nothing but the second one, and ends the relay's sessions
	complaint []string // what the relay logs while it has the first one
	renew     func()   // puts the second one where the relay finds it
}

// rotate replaces one secret after the other, and has no relay started again for it. All
// rows are judged in the end.
func (w *world) rotate(rotations ...rotation) {
	w.t.Helper()
	for i, r := range rotations {
		w.t.Logf("rotating %s", r.secret)
		if r.begin != nil {
			r.begin()
		}
		load := w.load(oracle.Load{Rate: 100, Seed: uint64(700 + i)})
		relay := w.relay(r.variables...)
		w.awaitMarked(w.marked() + 50)
		r.revoke()
		relay.AwaitLog(append(r.complaint, `"level":"WARN"`)...)
		r.renew()
		w.awaitMarked(w.marked() + 100)
		w.stop(load, 100)
		w.awaitDrained()
		relay.Terminate()
	}
	w.untouched()
	w.verdict(oracle.Limits{Redeliveries: len(rotations) * window})
}

// demandPasswords lets the relay's role in by its password alone.
func (w *world) demandPasswords() {
	w.t.Helper()
	w.exec(`DO $$ BEGIN EXECUTE format('COPY (SELECT unnest(ARRAY[%L, ''local all all trust'', ''host all all 127.0.0.1/32 trust''])) TO %L',
		'host all ` + w.role + ` 127.0.0.1/32 scram-sha-256', current_setting('hba_file')); END $$`)
	w.exec(`SELECT pg_reload_conf()`)
	w.await("the role needs its password", func() bool {
		return w.count(`SELECT count(*) FROM pg_hba_file_rules WHERE auth_method = 'scram-sha-256'`) == 1
	})
}

// All three sessions of a leader: the control and the read session begin with a term, the
// tail's in the midst of one.
func TestRotatedDatabasePasswordIsTakenUp(t *testing.T) {
	t.Parallel()
	w := newTailWorld(t, worldOptions{})
	w.demandPasswords()
	file := newSecretFile(t, w.relayURL()+"\n")
	w.setFile("OUTBOX_DATABASE_URL", file)
	load := w.load(oracle.Load{Rate: 100, Seed: 71})
	relay, since := w.tailing()

	// The file is gone, then empty, while the sessions end: told, and tried again.
	w.exec(`ALTER ROLE ` + w.role + ` PASSWORD 'second'`)
	file.remove()
	w.terminate(`usename = '` + w.role + `'`)
	relay.AwaitLog("OUTBOX_DATABASE_URL_FILE", "cannot read the file")
	w.await("the status says why", func() bool { return strings.Contains(w.rawStatus(relay), "cannot read the file") })
	file.write("\n")
	w.await("the status says why", func() bool { return strings.Contains(w.rawStatus(relay), "the file is empty") })
	file.write(urlWith(t, w.relayURL(), "second"))
	since = w.awaitTailingAgain(relay, since)

	// The tail alone.
	w.exec(`ALTER ROLE ` + w.role + ` PASSWORD 'third'`)
	file.write(urlWith(t, w.relayURL(), "third"))
	if n := w.endWalsender(); n != 1 {
		t.Errorf("ended %d sessions that read the log, want 1", n)
	}
	w.awaitTailingAgain(relay, since)
	w.stop(load, 100)
	w.awaitDrained()
	relay.Terminate()
	for _, secret := range []string{"relay-secret", "second@", "third@"} {
		if strings.Contains(relay.Log(), secret) {
			t.Errorf("the log shows the password %s", secret)
		}
	}
	w.verdict(oracle.Limits{Redeliveries: window})
}

func TestRotatedRabbitMQPasswordIsTakenUp(t *testing.T) {
	t.Parallel()
	w := newRabbitWorld(t, sharedNode(t), quorum)
	user := w.role
	w.ctl("add_user", user, "first")
	w.ctl("set_permissions", "-p", "/", user, "", ".*", "")
	file := newSecretFile(t, w.server.URLAs(user, "first"))
	w.setFile("OUTBOX_SINK_URL", file)
	load := w.load(oracle.Load{Rate: 100, Seed: 72})
	relay := w.relay()
	w.awaitMarked(10)

	w.ctl("change_password", user, "second")
	file.remove()
	w.ctl("close_all_user_connections", user, "rotated")
	w.await("the status says why", func() bool { return strings.Contains(w.rawStatus(relay), "cannot read the file") })
	marked := w.marked()
	file.write(w.server.URLAs(user, "second"))
	w.awaitMarked(marked + 100)
	w.stop(load, 100)
	w.awaitDrained()
	relay.Terminate()
	w.untouched()
	w.verdict(oracle.Limits{Redeliveries: window})
}
