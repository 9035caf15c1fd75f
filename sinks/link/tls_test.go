package link

import (
	"bytes"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/authority"
)

func TestTLSFilesAreLoaded(t *testing.T) {
	ours, other := authority.New(t, "ours"), authority.New(t, "other")
	certFile, keyFile := ours.Issue("client")
	files := TLS{CAFile: ours.File, CertFile: certFile, KeyFile: keyFile}
	config, err := files.Config("name")
	if err != nil {
		t.Fatal(err)
	}
	if config.ServerName != "name" || len(config.Certificates) != 1 {
		t.Fatalf("the server is %q, the certificates are %d", config.ServerName, len(config.Certificates))
	}
	client := config.Certificates[0]
	usages := x509.VerifyOptions{Roots: config.RootCAs, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if _, err := client.Leaf.Verify(usages); err != nil {
		t.Errorf("the client's certificate: %v", err)
	}
	stranger, err := os.ReadFile(other.File)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ours.File, stranger, 0o600); err != nil {
		t.Fatal(err)
	}
	ours.Issue("client")
	renewed, err := files.Config("name")
	if err != nil {
		t.Fatal(err)
	}
	if renewed.RootCAs.Equal(config.RootCAs) || bytes.Equal(renewed.Certificates[0].Certificate[0], client.Certificate[0]) {
		t.Error("renewed files are not taken up")
	}
}

func TestNoTLSFilesAreTheSystemsAuthorities(t *testing.T) {
	config, err := TLS{}.Config("")
	if err != nil || config.RootCAs != nil || config.Certificates != nil {
		t.Errorf("authorities are %v, certificates %v (%v)", config.RootCAs, config.Certificates, err)
	}
}

func TestBadTLSFilesAreTold(t *testing.T) {
	a := authority.New(t, "ours")
	certFile, keyFile := a.Issue("one")
	_, otherKey := a.Issue("two")
	missing := filepath.Join(t.TempDir(), "missing")
	for want, files := range map[string]TLS{
		"read CA file: open " + missing:                                {CAFile: missing},
		"read CA file " + keyFile + ": no PEM certificate in it":       {CAFile: keyFile},
		"set both files or neither":                                    {CertFile: certFile},
		"client certificate and key go together":                       {CAFile: a.File, KeyFile: keyFile},
		"read client certificate " + certFile + " and key " + otherKey: {CertFile: certFile, KeyFile: otherKey},
	} {
		if _, err := files.Config(""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %q in it", err, want)
		}
	}
}
