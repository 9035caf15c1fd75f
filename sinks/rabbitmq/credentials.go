package rabbitmq

import (
	"errors"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/sinks/link"
)

var errPlainWithTLS = errors.New("TLS files are given, and the URL says amqp://: use amqps://, or no TLS files")

// nodes reads the addresses for one attempt to connect.
func (o Options) nodes() (addresses, error) {
	list, err := link.Reread(o.URLs, o.ReadURLs)
	if err != nil {
		return nil, err
	}
	as, err := parseAddresses(list)
	if err != nil {
		return nil, err
	}
	return as, o.checkTLS(as)
}

// checkTLS finds mistakes before a connection is tried. A relay that was given
// certificates must not send anything unencrypted.
func (o Options) checkTLS(as addresses) error {
	for _, a := range as {
		if !a.tls && o.TLS != (TLS{}) {
			return errPlainWithTLS
		}
	}
	_, err := o.TLS.Config("")
	return err
}

// authentication returns EXTERNAL (by certificate) if a client certificate is set and
// the URL names no user.
func (o Options) authentication(a address) []amqp.Authentication {
	if o.external(a) {
		return []amqp.Authentication{&amqp.ExternalAuth{}}
	}
	return []amqp.Authentication{&amqp.PlainAuth{Username: a.user, Password: a.password}}
}

// external returns whether the certificate authenticates.
func (o Options) external(a address) bool { return a.tls && !a.named && o.TLS.CertFile != "" }
