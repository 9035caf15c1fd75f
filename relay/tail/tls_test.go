package tail_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/relay/postgres"
	"github.com/outbox-relay/outbox-relay/relay/tail"
)

func TestStreamOverTLS(t *testing.T) {
	t.Parallel()
	f := setupAlone(t, nil)
	ca := f.encrypt()
	user := f.options.Config.User
	config, err := pgconn.ParseConfig(f.server.URLAs(user, "", "postgres") + "&sslmode=verify-full&sslrootcert=" + ca)
	if err != nil {
		t.Fatal(err)
	}
	f.options.Config = config
	s := f.stream()
	if f.value("SELECT ssl FROM pg_stat_ssl JOIN pg_stat_replication USING (pid)") != "true" {
		t.Fatal("the session is not encrypted")
	}
	f.exec("INSERT INTO {t} (topic, payload) SELECT 'x', to_json(repeat('x', 100000)) FROM generate_series(1, 100)")
	for _, ev := range rows(t, s, 100) {
		if len(ev.Message.Payload) != 100_002 {
			t.Fatalf("a payload of %d bytes", len(ev.Message.Payload))
		}
	}
	if f.value("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_replication") != "1" {
		t.Fatal("no session was ended")
	}
	if err := failure(t, s, patience); !errors.Is(err, tail.ErrEnded) {
		t.Error(err)
	}
	s = f.stream()
	s.Close()
	f.gone()
}

// The bounds of libpq's URL hold at a real server: pgx does not know them.
func TestURLBoundsTheVersionOfTLS(t *testing.T) {
	t.Parallel()
	f := setupAlone(t, nil)
	ca := f.encrypt()
	f.exec("ALTER SYSTEM SET ssl_max_protocol_version = 'TLSv1.2'")
	f.exec("SELECT pg_reload_conf()")
	eventually(t, "the server's bound holds", func() bool { return f.value("SELECT current_setting('ssl_max_protocol_version')") == "TLSv1.2" })
	url := f.server.URLAs(f.options.Config.User, "", "postgres") + "&sslmode=verify-full&sslrootcert=" + ca
	for bound, works := range map[string]bool{
		"&ssl_min_protocol_version=TLSv1.2": true,
		"&ssl_max_protocol_version=TLSv1.2": true,
		"&ssl_min_protocol_version=TLSv1.3": false,
	} {
		config, err := postgres.ParseURL(url + bound)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := pgx.ConnectConfig(t.Context(), config)
		if (err == nil) != works {
			t.Errorf("%s: %v, want a connection: %v", bound, err, works)
		}
		if err == nil {
			_ = conn.Close(t.Context())
		}
	}
}

// encrypt gives the fixture's server a certificate and returns the file of the
// authority that clients have to trust.
func (f *fixture) encrypt() string {
	f.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		f.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		f.t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})
	f.serverFile("server.crt", public)
	f.serverFile("server.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	f.exec("ALTER SYSTEM SET ssl = on")
	f.exec("SELECT pg_reload_conf()")
	eventually(f.t, "the server encrypts", func() bool { return f.value("SELECT current_setting('ssl')") == "on" })
	ca := filepath.Join(f.t.TempDir(), "ca.crt")
	if err := os.WriteFile(ca, public, 0o600); err != nil {
		f.t.Fatal(err)
	}
	return ca
}

// serverFile writes a file into the server's data directory, as its own.
func (f *fixture) serverFile(name string, content []byte) {
	f.t.Helper()
	data := f.value("SELECT current_setting('data_directory')")
	info, err := os.Stat(data)
	if err != nil {
		f.t.Fatal(err)
	}
	path := filepath.Join(data, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		f.t.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	if err := os.Chown(path, int(owner.Uid), int(owner.Gid)); err != nil {
		f.t.Fatal(err)
	}
}
