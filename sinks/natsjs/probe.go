package natsjs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
)

// Probe implements [relay.Sink]. If there is no connection, Probe has an attempt made
// at once. If there is one, Probe asks JetStream, or makes a round trip to the server
// if JetStream does not say whether it takes messages.
func (s *Sink) Probe(ctx context.Context) error {
	sess, err := s.link.Await(ctx)
	if err != nil {
		return err
	}
	return sess.probe(ctx)
}

func (s *session) probe(ctx context.Context) error {
	_, err := ask(ctx, s, askAccount, s.js.AccountInfo)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled):
		return fmt.Errorf("NATS server %s runs without JetStream: start it with -js or jetstream in its configuration", s.address)
	case errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("NATS server %s has no JetStream for this account: enable it there, or use another user", s.address)
	case errors.Is(err, errDenied), errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout), isAnswer(err):
		// Streams may take messages although the API does not answer: a cluster without
		// a leader for JetStream may still have leaders of streams. Publishing shows
		// it.
		return s.roundTrip(ctx)
	}
	return fmt.Errorf("ask JetStream at %s: %w", s.address, err)
}

func (s *session) roundTrip(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	_, err := link.Ask(ctx, s.life, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, s.conn.FlushWithContext(ctx)
	})
	if err != nil {
		return fmt.Errorf("wait for an answer of NATS: %w", err)
	}
	return nil
}

// withAdvice adds the fix to an error of a connection attempt, unless the fix is to
// wait. The error shows no credentials, because the library's errors show none.
func withAdvice(err error, o Options) error {
	if errors.As(err, new(*relay.PlaintextError)) {
		return err // which says it
	}
	if advice := advise(err, o); advice != "" {
		return fmt.Errorf("%w: %s", err, advice)
	}
	return err
}

func advise(err error, o Options) string {
	if fix := relay.BrokerFix(err); fix != "" {
		return fix
	}
	switch text := strings.ToLower(err.Error()); {
	case errors.Is(err, nats.ErrAuthorization), strings.Contains(text, "authorization violation"):
		return "the server does not take the user, password, token or key: check OUTBOX_SINK_URL and OUTBOX_NATS_*"
	case errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAccountAuthExpired), strings.Contains(text, "authentication expired"):
		return "issue new credentials"
	case strings.Contains(text, "certificate required"), strings.Contains(text, "after tls handshake"):
		return "the server may want a client certificate, or does not trust the one that it has got: set OUTBOX_TLS_CERT_FILE and OUTBOX_TLS_KEY_FILE"
	case !o.TLSFirst && saidNothing(err):
		return "if the server has handshake_first in its tls, set OUTBOX_NATS_TLS_FIRST=on"
	case o.TLSFirst && strings.Contains(text, "first record does not look like a tls handshake"):
		return "the server does not begin with TLS: unset OUTBOX_NATS_TLS_FIRST, or set handshake_first in its tls"
	case errors.Is(err, nats.ErrSecureConnRequired):
		return "use tls:// in OUTBOX_SINK_URL, and OUTBOX_TLS_CA_FILE for an authority of your own"
	case errors.Is(err, nats.ErrSecureConnWanted):
		return "the server offers no TLS: use nats:// and no OUTBOX_TLS_* file, or enable TLS there"
	}
	return ""
}

// saidNothing returns whether a server accepted the connection, and then was silent or
// closed it.
func saidNothing(err error) bool {
	if errors.As(err, new(unreachedError)) {
		return false
	}
	return errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, nats.ErrTimeout)
}
