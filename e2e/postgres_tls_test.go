package e2e_test

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/authority"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgserver"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/wiretap"
)

// Both ends show a certificate, and each fault of one is named where the relay says
// why it does not connect.
func TestDatabaseCertificatesAreVerifiedOnBothSides(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{cluster: pgtest.Own(t, nil)})
	ours, other := authority.New(t, "ours"), authority.New(t, "other")
	serverCert, serverKey := ours.Issue("server")
	w.serveTLS(serverCert, serverKey, ours.File)
	w.replaceHBA("host all "+pgserver.Superuser+" 127.0.0.1/32 trust", "hostssl all "+w.role+" 127.0.0.1/32 cert")
	with := func(pairs ...string) string {
		cert, key := ours.Issue(w.role)
		u := withParameters(t, w.relayURL(), "sslmode", "verify-full", "sslrootcert", ours.File, "sslcert", cert, "sslkey", key)
		return withParameters(t, u, pairs...)
	}
	relay := w.relay("OUTBOX_DATABASE_URL", with())
	w.awaitTailing(relay) // the session that reads the log too
	w.deliver("oracle.tls")
	relay.Terminate()

	foreignCert, foreignKey := other.Issue(w.role)
	w.demandComplaint(with("sslrootcert", other.File), "certificate signed by unknown authority")
	// A client does not show a certificate of an authority that the server has not asked for.
	w.demandComplaint(with("sslcert", foreignCert, "sslkey", foreignKey), "connection requires a valid client certificate")
	w.demandComplaint(with("sslcert", "", "sslkey", ""), "connection requires a valid client certificate")

	elsewhereCert, elsewhereKey := ours.IssueHost("elsewhere.example")
	w.serveTLS(elsewhereCert, elsewhereKey, "")
	w.demandComplaint(with(), "cannot validate certificate for 127.0.0.1")
	expiredCert, expiredKey := ours.IssueExpired("expired")
	w.serveTLS(expiredCert, expiredKey, "")
	w.demandComplaint(with(), "certificate has expired")
}

// A connection that begins with TLS, where the server knows it; make matrix has servers of
// both kinds. All sessions of the relay connect that way.
func TestDirectTLSWorksOrNamesTheVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{cluster: pgtest.Own(t, nil)})
	url, tap := away(t, w.relayURL())
	a := authority.New(t, "ours")
	cert, key := a.IssueAddress("server", wiretap.Address(t))
	w.serveTLS(cert, key, "")
	url = withParameters(t, url, "sslmode", "verify-full", "sslrootcert", a.File, "sslnegotiation", "direct")
	if w.count(`SELECT current_setting('server_version_num')::int`) < 170000 {
		relay := w.relay("OUTBOX_DATABASE_URL", url)
		relay.AwaitLog(`"level":"WARN"`, "sslnegotiation=direct needs PostgreSQL 17 or later")
		if _, said := w.ask(relay, "doctor"); !strings.Contains(said, "sslnegotiation=direct needs PostgreSQL 17 or later") {
			t.Errorf("doctor says:\n%s", said)
		}
		relay.Terminate()
		return
	}
	relay := w.relay("OUTBOX_DATABASE_URL", url)
	w.awaitTailing(relay) // the session that reads the log too
	w.deliver("oracle.direct")
	relay.Terminate()
	const hello, request = "\x16\x03", "\x00\x00\x00\x08\x04\xd2\x16\x2f" // of TLS, and of who asks for it first
	if heard := tap.Heard(); !strings.HasPrefix(heard, hello) || strings.Contains(heard, request) {
		t.Errorf("the relay began with %q", heard[:min(len(heard), 16)])
	}
}

// demandComplaint waits until the server is as the URL is to find it, and for the
// relay to say so.
func (w *world) demandComplaint(url, complaint string) {
	w.t.Helper()
	w.awaitRefused(url, complaint)
	relay := w.relay("OUTBOX_DATABASE_URL", url)
	relay.AwaitLog(complaint)
	relay.Terminate()
}

// awaitRefused waits until nobody can connect with that URL, with that in the error: a
// server takes a moment to read its files again.
func (w *world) awaitRefused(url, complaint string) {
	w.t.Helper()
	w.await("a connection fails: "+complaint, func() bool {
		conn, err := pgconn.Connect(w.t.Context(), url)
		if err == nil {
			_ = conn.Close(w.t.Context())
		}
		return err != nil && strings.Contains(err.Error(), complaint)
	})
}

// secureDatabase has a cluster of the test's own speak TLS, and returns the relay's
// URL that demands and verifies it.
func (w *world) secureDatabase() string {
	w.t.Helper()
	a := authority.New(w.t, "authority")
	cert, key := a.Issue("server")
	w.serveTLS(cert, key, "")
	return withParameters(w.t, w.relayURL(), "sslmode", "verify-full", "sslrootcert", a.File)
}

// serveTLS gives the server its certificate and, if there is one, the authority of its
// clients.
func (w *world) serveTLS(certFile, keyFile, clientCA string) {
	w.t.Helper()
	for setting, file := range map[string]string{"ssl_cert_file": certFile, "ssl_key_file": keyFile, "ssl_ca_file": clientCA} {
		if file == "" {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			w.t.Fatal(err)
		}
		w.writeForServer(setting, text)
		w.exec(`ALTER SYSTEM SET ` + setting + ` = '` + setting + `'`)
	}
	w.exec(`ALTER SYSTEM SET ssl = on`)
	w.exec(`SELECT pg_reload_conf()`)
	w.await("the server speaks TLS", func() bool {
		return w.count(`SELECT count(*) FROM pg_settings WHERE name = 'ssl' AND setting = 'on'`) == 1
	})
}

// writeForServer writes a file into the server's data directory, whose owner has to own
// a key.
func (w *world) writeForServer(name string, text []byte) {
	w.t.Helper()
	var dir string
	w.row(`SELECT current_setting('data_directory')`, nil, &dir)
	info, err := os.Stat(dir)
	if err != nil {
		w.t.Fatal(err)
	}
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		w.t.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	if err := os.Chown(path, int(owner.Uid), int(owner.Gid)); err != nil {
		w.t.Fatal(err)
	}
}

// replaceHBA replaces pg_hba.conf.
func (w *world) replaceHBA(lines ...string) {
	w.t.Helper()
	text := "local all all trust\n"
	for _, line := range lines {
		text += line + "\n"
	}
	w.writeForServer("pg_hba.conf", []byte(text))
	w.exec(`SELECT pg_reload_conf()`)
	want := len(lines) + 1
	w.await("the lines of pg_hba.conf apply", func() bool {
		return w.count(`SELECT count(*) FROM pg_hba_file_rules WHERE error IS NULL`) == want
	})
}

// withParameters is a database's URL with other parameters.
func withParameters(t testing.TB, text string, pairs ...string) string {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	for i := 0; i+1 < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	u.RawQuery = q.Encode()
	return u.String()
}
