package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/relay"
)

// Guard has each connection judged as soon as it is there, before the server is told of
// a user. A URL that allows plaintext counts as plaintext, also where the server has
// offered encryption: whoever is in between can take the offer away.
func Guard(config *pgconn.Config, e *relay.Encryption) {
	promised, fix := promise(config)
	config.AfterNetConnect = func(ctx context.Context, c *pgconn.Config, conn net.Conn) (net.Conn, error) {
		if err := shakeHands(ctx, c, conn); err != nil {
			return conn, err
		}
		return conn, e.Judge(newPeer(conn, promised, fix))
	}
}

// shakeHands does what the driver leaves to its first message where the connection begins
// with TLS. A server that knows no such connection says nothing of it: it just ends it.
func shakeHands(ctx context.Context, config *pgconn.Config, conn net.Conn) error {
	encrypted, is := conn.(*tls.Conn)
	if !is || config.SSLNegotiation != "direct" {
		return nil
	}
	err := encrypted.HandshakeContext(ctx)
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		return fmt.Errorf("%w: the server ends a connection that begins with TLS: sslnegotiation=direct needs PostgreSQL 17 or later, leave it out of OUTBOX_DATABASE_URL", err)
	}
	return err
}

func newPeer(conn net.Conn, promised relay.Protection, fix string) relay.Peer {
	if _, encrypted := conn.(*tls.Conn); !encrypted {
		promised = relay.Plaintext
	}
	return relay.NewPeer("PostgreSQL", conn, promised, fix)
}

const verifyFull = "set sslmode=verify-full, and sslrootcert for an authority of your own, in OUTBOX_DATABASE_URL"

// promise is how well the URL protects a connection that leaves this host, and what to
// do where that is not well. There is no encryption by GSSAPI: the driver knows none.
func promise(config *pgconn.Config) (relay.Protection, string) {
	promised := relay.Verified
	for _, c := range tlsConfigs(config) {
		switch {
		case c == nil:
			return relay.Plaintext, verifyFull + "; prefer, which is the default, and allow are not enough"
		case c.InsecureSkipVerify && c.VerifyPeerCertificate == nil: // sslmode=require without an authority
			promised = relay.Unverified
		}
	}
	return promised, verifyFull
}

// tlsConfigs are those of all attempts to connect by TCP, nil for one in plaintext.
func tlsConfigs(config *pgconn.Config) []*tls.Config {
	var all []*tls.Config
	add := func(host string, port uint16, c *tls.Config) {
		if network, _ := pgconn.NetworkAddress(host, port); network != "unix" {
			all = append(all, c)
		}
	}
	add(config.Host, config.Port, config.TLSConfig)
	for _, f := range config.Fallbacks {
		add(f.Host, f.Port, f.TLSConfig)
	}
	return all
}

// explainTLS adds what to do to an error about encryption, or takes the driver's words
// away from one that says all.
func explainTLS(err error) error {
	if refused, is := errors.AsType[*relay.PlaintextError](err); is {
		return fmt.Errorf("%w: %w", relay.ErrSetup, refused)
	}
	if fix := certificateFix(err); fix != "" {
		return fmt.Errorf("%w: %s", err, fix)
	}
	return err
}

func certificateFix(err error) string {
	return relay.CertificateFix(err, "sslrootcert in OUTBOX_DATABASE_URL", "sslcert and sslkey in OUTBOX_DATABASE_URL")
}
