package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
)

// Probe implements [relay.Sink]. If there is no connection, Probe has an attempt made
// at once. If there is one, Probe checks the exchange.
func (s *Sink) Probe(ctx context.Context) error {
	sess, err := s.link.Await(ctx)
	if err != nil {
		return err
	}
	return sess.probe(ctx)
}

func (s *session) probe(ctx context.Context) error {
	if err := s.signs.whyBlocked(); err != nil {
		return err // the broker would not read the question
	}
	err := s.request(ctx, checkExchange)
	if err == nil {
		s.setFault(nil)
		return nil
	}
	switch {
	case isAnswer(err), errors.Is(err, errNoExchange):
		s.setFault(err)
	case errors.Is(ctx.Err(), context.DeadlineExceeded) && s.signs.whyBlocked() == nil:
		// Nothing else may notice: if nothing is in flight, no message is late, and
		// heartbeats may still come.
		s.signs.doubt()
	}
	return err
}

// question is put to the broker on a connection. It may never return.
type question func(*amqp.Connection, Options) error

// ping is a round trip.
func ping(conn *amqp.Connection, _ Options) error {
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	return ch.Close()
}

// request puts a question and waits for the answer until ctx or the connection ends, or
// the broker blocks. If nobody waits for a question any more, it stays open until it is
// answered, and the next question waits for that.
func (s *session) request(ctx context.Context, q question) error {
	ctx, release := s.untilBlocked(ctx)
	defer release()
	if err := s.signs.whyBlocked(); err != nil {
		return err
	}
	if err := s.awaitTurn(ctx); err != nil {
		return err
	}
	_, err := link.Ask(ctx, s.life, func(context.Context) (struct{}, error) {
		defer func() { <-s.asking }()
		return struct{}{}, q(s.conn, s.options)
	})
	switch {
	case err == nil, errors.Is(err, errBlocked):
		return err
	case errors.Is(err, link.ErrEnded): // the question was not put
		<-s.asking
		return s.lost()
	case ctx.Err() != nil:
		return fmt.Errorf("ask RabbitMQ at %s: %w", s.address.host, err)
	case s.conn.IsClosed():
		<-s.down
		return s.lost()
	}
	return err
}

// awaitTurn returns nil once no earlier question is open.
func (s *session) awaitTurn(ctx context.Context) error {
	select {
	case s.asking <- struct{}{}:
		return nil
	case <-s.down:
		return s.lost()
	case <-ctx.Done():
	}
	if cause := context.Cause(ctx); errors.Is(cause, errBlocked) {
		return cause
	}
	return fmt.Errorf("an earlier question to the broker is not answered: %w", ctx.Err())
}

// untilBlocked returns a context that ends with ctx, or when the broker blocks, because
// then the broker does not read questions. In that case its cause is [errBlocked]. The
// caller calls release.
func (s *session) untilBlocked(ctx context.Context) (_ context.Context, release func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	s.life.Start(func() {
		for {
			next := s.sink.changed.next()
			if err := s.signs.whyBlocked(); err != nil {
				cancel(err)
				return
			}
			select {
			case <-next:
			case <-ctx.Done():
				return
			}
		}
	})
	return ctx, func() { cancel(nil) }
}

// withAdvice adds the fix to an error of a connection attempt, unless the fix is to
// wait. The error shows no credentials, because the library's errors show none.
func withAdvice(err error, o Options, a address) error {
	text := err.Error()
	if errors.As(err, new(*relay.PlaintextError)) {
		return err // which says what to do
	}
	if fix := relay.BrokerFix(err); fix != "" {
		return fmt.Errorf("%w: %s", err, fix)
	}
	switch {
	case errors.Is(err, amqp.ErrSASL):
		return fmt.Errorf("%w: the broker does not offer this way to authenticate: give a user in OUTBOX_SINK_URL, or enable the plugin rabbitmq_auth_mechanism_ssl and EXTERNAL there", err)
	case o.external(a) && isRefusedLogin(err):
		return fmt.Errorf("%w: %s", err, refusedCertificate)
	case isRefusedLogin(err):
		return fmt.Errorf("%w: the broker does not take user %q and its password, or lets guest in from its own host only: check OUTBOX_SINK_URL", err, a.user)
	case errors.Is(err, amqp.ErrVhost), strings.Contains(text, "NOT_ALLOWED"):
		return fmt.Errorf("%w: %s", err, a.notAllowed(text))
	case strings.Contains(text, "certificate required"), strings.Contains(text, "handshake failure"):
		return fmt.Errorf("%w: the broker may want a client certificate: set OUTBOX_TLS_CERT_FILE and OUTBOX_TLS_KEY_FILE", err)
	case strings.Contains(text, "first record does not look like a TLS handshake"):
		return fmt.Errorf("%w: there is no TLS on this port: use the port of amqps (5671, usually), or amqp://", err)
	}
	return err
}

// isRefusedLogin returns whether the broker does not take who the client says it is.
func isRefusedLogin(err error) bool {
	return errors.Is(err, amqp.ErrCredentials) || strings.Contains(err.Error(), "ACCESS_REFUSED")
}

// refusedCertificate: a client shows no certificate of an authority that the broker does
// not name.
const refusedCertificate = "the broker does not take the client certificate for a login: it has to trust its authority, " +
	"and to have a user of the name in it (ssl_cert_login_from); or set OUTBOX_TLS_CERT_FILE to another one"
