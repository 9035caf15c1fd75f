package e2e_test

import (
	"os"
	"testing"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/authority"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgserver"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/rabbitserver"
)

// copied is a file of the relay's with the content of another one.
func copied(t testing.TB, path string) secretFile {
	t.Helper()
	f := newSecretFile(t, "")
	f.copy(path)
	return f
}

func (f secretFile) copy(path string) {
	f.t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		f.t.Fatal(err)
	}
	f.write(string(text))
}

// certified are the files of a client certificate of the relay's, which another
// authority can renew.
type certified struct {
	name      string
	cert, key secretFile
}

func certify(t testing.TB, by *authority.Authority, name string) certified {
	t.Helper()
	c := certified{name, newSecretFile(t, ""), newSecretFile(t, "")}
	c.renew(by)
	return c
}

// renew writes one file after the other, as an agent does: for a moment they do not go
// together.
func (c certified) renew(by *authority.Authority) {
	c.cert.t.Helper()
	cert, key := by.Issue(c.name)
	c.cert.copy(cert)
	c.key.copy(key)
}

func TestRotatedDatabaseCertificatesAreTakenUpUnderLoad(t *testing.T) {
	t.Parallel()
	w := newTailWorld(t, worldOptions{})
	ours, next := authority.New(t, "ours"), authority.New(t, "next")
	serve := func(of, clients *authority.Authority) {
		cert, key := of.Issue("server")
		w.serveTLS(cert, key, clients.File)
	}
	serve(ours, ours)
	w.replaceHBA("host all "+pgserver.Superuser+" 127.0.0.1/32 trust", "hostssl all "+w.role+" 127.0.0.1/32 cert")
	ca, shown := copied(t, ours.File), certify(t, ours, w.role)
	url := withParameters(t, w.relayURL(), "sslmode", "verify-full", "sslrootcert", ca.path, "sslcert", shown.cert.path, "sslkey", shown.key.path)
	revoke := func(of, clients *authority.Authority, complaint string) func() {
		return func() {
			serve(of, clients)
			w.awaitRefused(url, complaint)
			w.terminate(`true`)
		}
	}
	const foreign, uncertified = "signed by unknown authority", "connection requires a valid client certificate"
	w.rotate(
		rotation{
			secret: "the server's authority", variables: []string{"OUTBOX_DATABASE_URL", url},
			revoke: revoke(next, ours, foreign), complaint: []string{foreign},
			renew: func() { ca.copy(next.File) },
		},
		rotation{
			secret: "the client certificate", variables: []string{"OUTBOX_DATABASE_URL", url},
			revoke: revoke(next, next, uncertified), complaint: []string{uncertified},
			renew: func() { shown.renew(next) },
		},
	)
}

func TestRotatedRabbitMQCertificatesAreTakenUpUnderLoad(t *testing.T) {
	t.Parallel()
	ours, next := authority.New(t, "ours"), authority.New(t, "next")
	serverCert, serverKey := ours.Issue("server")
	s, err := rabbitserver.Start(t.Context(), rabbitserver.WithTLS(ours.File, serverCert, serverKey))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	w := newRabbitWorld(t, s, quorum)
	user := w.role
	w.ctl("add_user", user, "unused")
	w.ctl("set_permissions", "-p", "/", user, "", ".*", "")
	ca, shown := copied(t, ours.File), certify(t, ours, user)
	// The certificate names the user.
	variables := []string{
		"OUTBOX_SINK_URL", "amqps://" + s.TLSAddr(),
		"OUTBOX_TLS_CA_FILE", ca.path, "OUTBOX_TLS_CERT_FILE", shown.cert.path, "OUTBOX_TLS_KEY_FILE", shown.key.path,
	}
	present := func(files map[string]string) {
		if err := s.ReplaceTLS(t.Context(), files); err != nil {
			t.Fatal(err)
		}
		w.ctl("close_all_user_connections", user, "rotated")
	}
	w.rotate(
		rotation{
			secret: "the server's authority", variables: variables,
			revoke: func() {
				cert, key := next.Issue("server")
				present(map[string]string{"certfile": cert, "keyfile": key})
			},
			complaint: []string{"signed by unknown authority"},
			renew:     func() { ca.copy(next.File) },
		},
		rotation{
			secret: "the client certificate", variables: variables,
			revoke:    func() { present(map[string]string{"cacertfile": next.File}) },
			complaint: []string{"OUTBOX_TLS_CERT_FILE"},
			renew:     func() { shown.renew(next) },
		},
	)
}
