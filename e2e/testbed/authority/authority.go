package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority signs certificates.
type Authority struct {
	t    testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	// File is the PEM file with the certificate of the authority itself.
	File string
}

// New makes an authority with that common name.
func New(t testing.TB, name string) *Authority {
	t.Helper()
	a := &Authority{t: t, dir: t.TempDir()}
	var der []byte
	a.cert = &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, a.key = a.sign(a.cert, a.cert, nil)
	var err error
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.File = a.write(name+".pem", "CERTIFICATE", der)
	return a
}

// Issue writes a certificate with that common name, and its key, to two PEM
// files. It is for the address 127.0.0.1. Issued again, a name has new files in the
// place of the old ones.
func (a *Authority) Issue(name string) (certFile, keyFile string) {
	a.t.Helper()
	return a.issue(name, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
}

// IssueAddress is [Authority.Issue] for another address.
func (a *Authority) IssueAddress(name, address string) (certFile, keyFile string) {
	a.t.Helper()
	return a.issue(name, &x509.Certificate{IPAddresses: []net.IP{net.ParseIP(address)}})
}

// IssueHost is [Authority.Issue] for a host name, and no address.
func (a *Authority) IssueHost(name string) (certFile, keyFile string) {
	a.t.Helper()
	return a.issue(name, &x509.Certificate{DNSNames: []string{name}})
}

// IssueExpired is [Authority.Issue] with a certificate that is no longer valid.
func (a *Authority) IssueExpired(name string) (certFile, keyFile string) {
	a.t.Helper()
	now := time.Now()
	return a.issue(name, &x509.Certificate{
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: now.Add(-2 * time.Hour), NotAfter: now.Add(-time.Hour),
	})
}

func (a *Authority) issue(name string, template *x509.Certificate) (certFile, keyFile string) {
	a.t.Helper()
	template.Subject = pkix.Name{CommonName: name}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	der, key := a.sign(template, a.cert, a.key)
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.write(name+".pem", "CERTIFICATE", der), a.write(name+".key", "EC PRIVATE KEY", keyDER)
}

// sign makes a key and a certificate for it, signed by the parent's key; nil: by
// its own.
func (a *Authority) sign(template, parent *x509.Certificate, by *ecdsa.PrivateKey) ([]byte, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	if by == nil {
		by = key
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	if template.NotAfter.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		a.t.Fatal(err)
	}
	return der, key
}

func (a *Authority) write(name, kind string, der []byte) string {
	a.t.Helper()
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}
