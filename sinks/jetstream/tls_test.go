package jetstream_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/natsserver"
	"github.com/outbox-relay/outbox-relay/sinks/jetstream"
)

// authority is a CA of the test's own.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	File string
}

func newAuthority(t *testing.T, name string) *authority {
	a := &authority{t: t}
	var der []byte
	a.cert = &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, a.key = a.sign(a.cert, a.cert, nil)
	var err error
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.File = file(t, name+".pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return a
}

func (a *authority) sign(template, parent *x509.Certificate, by *ecdsa.PrivateKey) ([]byte, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	if by == nil {
		by = key
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		a.t.Fatal(err)
	}
	return der, key
}

// issue writes a certificate for 127.0.0.1, fit for servers and clients.
func (a *authority) issue(name string) (certFile, keyFile string) {
	der, key := a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, a.key)
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return file(a.t, name+".pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		file(a.t, name+".key", pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}))
}

func TestTLSWithOwnAuthorityAndClientCertificate(t *testing.T) {
	ours, other := newAuthority(t, "ours"), newAuthority(t, "other")
	serverCert, serverKey := ours.issue("server")
	clientCert, clientKey := ours.issue("client")
	s, err := natsserver.StartInProcess(t.Context(), natsserver.Options{Config: fmt.Sprintf(
		"tls { cert_file: %q, key_file: %q, ca_file: %q, verify: true }", serverCert, serverKey, ours.File)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	for _, scheme := range []string{"tls", "nats"} {
		works(t, jetstream.Options{
			URLs: scheme + "://" + s.Addr(), Topology: jetstream.Create,
			TLS: jetstream.TLS{CAFile: ours.File, CertFile: clientCert, KeyFile: clientKey},
		})
	}
	for name, c := range map[string]struct {
		tls  jetstream.TLS
		want string
	}{
		"another authority":     {jetstream.TLS{CAFile: other.File, CertFile: clientCert, KeyFile: clientKey}, "certificate"},
		"no client certificate": {jetstream.TLS{CAFile: ours.File}, "OUTBOX_TLS_CERT_FILE"},
	} {
		err := probe(t, open(t, jetstream.Options{URLs: "tls://" + s.Addr(), TLS: c.tls}))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: probe says %v, want something about %q", name, err, c.want)
		}
	}
}

func TestTLSIsNotGivenUpSilently(t *testing.T) {
	a := newAuthority(t, "ours")
	s, err := natsserver.StartInProcess(t.Context(), natsserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	err = probe(t, open(t, jetstream.Options{URLs: s.URL(), TLS: jetstream.TLS{CAFile: a.File}}))
	if err == nil || !strings.Contains(err.Error(), "offers no TLS") {
		t.Errorf("probe says %v", err)
	}
}

func TestOpenFailsForWhatAPersonHasToMend(t *testing.T) {
	a := newAuthority(t, "ours")
	certFile, _ := a.issue("one")
	_, otherKey := a.issue("two")
	missing := filepath.Join(t.TempDir(), "missing")
	junk := file(t, "junk", []byte("no PEM, no seed, secret-junk"))
	for _, c := range []struct {
		name string
		o    jetstream.Options
		want string
	}{
		{"no address", jetstream.Options{}, "no server given"},
		{"scheme", jetstream.Options{URLs: "amqp://u:secret@h"}, `server amqp://u:xxxxx@h: scheme is "amqp", want nats or tls`},
		{"no host", jetstream.Options{URLs: "nats://u:secret@:4222"}, "has no host name"},
		{"password with a slash", jetstream.Options{URLs: "nats://u:sec/ret@h"}, "percent-encode"},
		{"password with a percent", jetstream.Options{URLs: "nats://u:sec%ret@h:1"}, "percent-encode"},
		{"second of two", jetstream.Options{URLs: "nats://h:1,nats://u:secret@h:secret"}, "server 2 of the list is not a URL"},
		{"credentials missing", jetstream.Options{URLs: "nats://h", CredsFile: missing}, "read credentials file " + missing},
		{"credentials junk", jetstream.Options{URLs: "nats://h", CredsFile: junk}, "find the user's"},
		{"nkey missing", jetstream.Options{URLs: "nats://h", NKeyFile: missing}, "read nkey file " + missing},
		{"nkey junk", jetstream.Options{URLs: "nats://h", NKeyFile: junk}, "want the seed of a user"},
		{"two ways", jetstream.Options{URLs: "nats://h", NKeyFile: junk, Token: "secret"}, "exclude each other"},
		{"CA missing", jetstream.Options{URLs: "nats://h", TLS: jetstream.TLS{CAFile: missing}}, "read CA file"},
		{"CA junk", jetstream.Options{URLs: "nats://h", TLS: jetstream.TLS{CAFile: junk}}, "no PEM certificate"},
		{"certificate alone", jetstream.Options{URLs: "nats://h", TLS: jetstream.TLS{CertFile: certFile}}, "go together"},
		{"pair", jetstream.Options{URLs: "nats://h", TLS: jetstream.TLS{CertFile: certFile, KeyFile: otherKey}}, "read client certificate"},
		{"inbox prefix", jetstream.Options{URLs: "nats://h", InboxPrefix: "a.>"}, "inbox prefix"},
		{"negative", jetstream.Options{URLs: "nats://h", AckTimeout: -1}, "cannot be negative"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := jetstream.Open(c.o)
			if err == nil {
				s.Close(t.Context())
				t.Fatal("it opened")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want %q in it", err, c.want)
			}
			if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "ret@") {
				t.Errorf("the error shows a secret: %v", err)
			}
		})
	}
}
