package link

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// TLS names PEM files. The zero value names none.
type TLS struct {
	CAFile   string // empty: the system's authorities
	CertFile string // with KeyFile: the client's certificate
	KeyFile  string
}

// Config reads the files. name is the server's name in its certificate; if it is empty,
// the caller that dials sets it. Config is called for each connection, so that a
// renewed certificate is used. Its errors name the file at fault.
func (t TLS) Config(name string) (*tls.Config, error) {
	if (t.CertFile == "") != (t.KeyFile == "") {
		return nil, errors.New("client certificate and key go together: set both files or neither")
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: name}
	if t.CAFile != "" {
		text, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read CA file: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("read CA file %s: no PEM certificate in it", t.CAFile)
		}
	}
	if t.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("read client certificate %s and key %s: %w", t.CertFile, t.KeyFile, err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}
