package rabbitmq

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	amqp "github.com/rabbitmq/amqp091-go"
)

var errPlainWithTLS = errors.New("TLS files are given, and the URL says amqp://: use amqps://, or no TLS files")

// tlsConfig reads the files, for one node.
func (t TLS) config(name string) (*tls.Config, error) {
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

// checkTLS finds mistakes before a connection is tried. A relay that was given
// certificates must not speak in the clear.
func (o Options) checkTLS(as addresses) error {
	for _, a := range as {
		if !a.tls && o.TLS != (TLS{}) {
			return errPlainWithTLS
		}
	}
	_, err := o.TLS.config("")
	return err
}

// authentication is EXTERNAL, the certificate's own, where a client certificate
// is set and the URL names no user.
func (o Options) authentication(a address) []amqp.Authentication {
	if a.tls && !a.named && o.TLS.CertFile != "" {
		return []amqp.Authentication{&amqp.ExternalAuth{}}
	}
	return []amqp.Authentication{&amqp.PlainAuth{Username: a.user, Password: a.password}}
}
