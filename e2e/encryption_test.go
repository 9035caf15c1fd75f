package e2e_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/authority"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/wiretap"
)

// A server that seems to be on another host, because the relay reaches it at an address
// that is not a loopback one, and somebody listens in between.

// away is a URL by way of a wiretap.
func away(t testing.TB, text string) (string, *wiretap.Tap) {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	tap := wiretap.Start(t, u.Host)
	u.Host = tap.Addr()
	return u.String(), tap
}

const (
	unprotected = `"msg":"a connection is not protected"`
	refusedTLS  = "refused by OUTBOX_REQUIRE_TLS"
)

func TestPlaintextIsToldAndOnDemandRefusedBeforeAnySecretIsSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{broker: `
		accounts { A { jetstream: enabled, users: [{user: relay, password: broker-secret}, {user: admin, password: a}] } }
		no_auth_user: admin`})
	databaseURL, database := away(t, w.relayURL())
	sinkURL, sink := away(t, strings.Replace(w.broker.URL(), "://", "://relay:broker-secret@", 1))
	w.env["OUTBOX_DATABASE_URL"], w.env["OUTBOX_SINK_URL"], w.env["OUTBOX_REQUIRE_TLS"] = databaseURL, sinkURL, "true"
	relay := w.relay()
	relay.AwaitLog(`"level":"WARN"`, "cannot work with the database", refusedTLS, "sslmode=verify-full")
	relay.AwaitLog(`"level":"WARN"`, "cannot connect to NATS", refusedTLS, "use tls:// in OUTBOX_SINK_URL")
	if _, said := w.ask(relay, "doctor"); strings.Count(said, refusedTLS) < 2 {
		t.Errorf("doctor says:\n%s", said)
	}
	if status, said := w.ask(relay, "dead", "list"); status == 0 || !strings.Contains(said, refusedTLS) {
		t.Errorf("dead list says %d:\n%s", status, said)
	}
	relay.Terminate()
	if heard := database.Heard() + sink.Heard(); strings.Contains(heard, "secret") || strings.Contains(heard, w.role) || strings.Contains(heard, "CONNECT") {
		t.Errorf("the one in between has heard %q", heard)
	}

	w.env["OUTBOX_REQUIRE_TLS"] = "false"
	relay = w.relay()
	w.deliver("oracle.plain")
	if n := relay.CountLog(unprotected); n != 2 {
		t.Errorf("%d warnings, want one for PostgreSQL and one for NATS:\n%s", n, relay.Log())
	}
	if _, said := w.ask(relay, "doctor"); strings.Count(said, "is not encrypted, or not for certain") != 2 {
		t.Errorf("doctor says:\n%s", said)
	}
	relay.Terminate()
	if !strings.Contains(sink.Heard(), "broker-secret") {
		t.Error("the wiretap hears nothing")
	}
}

// The server offers TLS. Whoever is in between could take the offer away.
func TestModesOfDatabaseEncryptionAreJudged(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{cluster: pgtest.Own(t, nil)})
	a := authority.New(t, "ours")
	cert, key := a.IssueAddress("server", wiretap.Address(t))
	w.serveTLS(cert, key, "")
	databaseURL, _ := away(t, w.relayURL())
	with := func(pairs ...string) string { return withParameters(t, databaseURL, pairs...) }
	w.env["OUTBOX_REQUIRE_TLS"] = "true"
	for _, mode := range []string{"prefer", "disable"} {
		relay := w.relay("OUTBOX_DATABASE_URL", with("sslmode", mode))
		relay.AwaitLog(refusedTLS)
		relay.Terminate()
	}
	for url, warnings := range map[string]int{
		with("sslmode", "require"):                            1,
		with("sslmode", "verify-full", "sslrootcert", a.File): 0,
		withParameters(t, w.relayURL(), "sslmode", "disable"): 0, // by the loopback address
	} {
		w.env["OUTBOX_DATABASE_URL"] = url
		relay := w.relay()
		w.awaitTailing(relay) // the session that reads the log too
		w.deliver("oracle.encrypted")
		if n := relay.CountLog(unprotected); n != warnings {
			t.Errorf("%s: %d warnings, want %d:\n%s", url, n, warnings, relay.Log())
		}
		if _, said := w.ask(relay, "doctor"); strings.Contains(said, "the server's certificate is not verified") != (warnings > 0) {
			t.Errorf("%s: doctor says:\n%s", url, said)
		}
		relay.Terminate()
	}
}
