package rabbitmq_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/authority"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/rabbitserver"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
	"github.com/outbox-relay/outbox-relay/sinks/rabbitmq"
)

// A URL that says amqp:// after a rotation must not make the relay speak in the
// clear.
func TestRotatedURLWithoutTLSIsRefused(t *testing.T) {
	ours := authority.New(t, "ours")
	encrypted, clear := "amqps://"+server(t).TLSAddr(), server(t).URL()
	var rotated atomic.Bool
	s := open(t, rabbitmq.Options{
		SinkOptions: link.SinkOptions{
			URLs: encrypted,
			TLS:  rabbitmq.TLS{CAFile: ours.File},
			ReadURLs: func() (string, error) {
				if rotated.Load() {
					return clear, nil
				}
				return encrypted, nil
			},
		},
	})
	rotated.Store(true)
	eventually(t, "the refusal", func() error {
		if err := probe(t, s); err == nil || !strings.Contains(err.Error(), "use amqps://") {
			return errors.Join(errors.New("probe says"), err)
		}
		return nil
	})
}

// A node of its own, because the certificates have to be there when it starts.
func TestTLSWithOwnAuthorityAndTheCertificatesUser(t *testing.T) {
	ours, other := authority.New(t, "ours"), authority.New(t, "other")
	serverCert, serverKey := ours.Issue("server")
	clientCert, clientKey := ours.Issue("certified")
	s, err := rabbitserver.Start(t.Context(), rabbitserver.WithTLS(ours.File, serverCert, serverKey))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	for _, args := range [][]string{
		{"add_user", "certified", "unused"},
		{"set_permissions", "-p", "/", "certified", "", ".*", ".*"},
	} {
		if _, err := s.Ctl(t.Context(), args...); err != nil {
			t.Fatal(err)
		}
	}
	declare(t, s.URL(), "tls")
	tls := rabbitmq.TLS{CAFile: ours.File, CertFile: clientCert, KeyFile: clientKey}
	for name, o := range map[string]rabbitmq.Options{
		"EXTERNAL":          {SinkOptions: link.SinkOptions{URLs: "amqps://" + s.TLSAddr(), TLS: tls}},
		"PLAIN":             {SinkOptions: link.SinkOptions{URLs: "amqps://guest:guest@" + s.TLSAddr(), TLS: tls}},
		"PLAIN, no client":  {SinkOptions: link.SinkOptions{URLs: "amqps://guest:guest@" + s.TLSAddr(), TLS: rabbitmq.TLS{CAFile: ours.File}}},
		"one of two is TLS": {SinkOptions: link.SinkOptions{URLs: "amqps://127.0.0.1:1,guest:guest@" + s.TLSAddr(), TLS: rabbitmq.TLS{CAFile: ours.File}}},
	} {
		sink := open(t, o)
		reach(t, sink)
		if o := await(t, sink, messageTo("tls", 1)); o.Class != relay.Acknowledged {
			t.Errorf("%s: %s %q (%v)", name, o.Class, o.Type, o.Err)
		}
	}
	for name, c := range map[string]struct {
		o    rabbitmq.Options
		want string
	}{
		"port without TLS": {rabbitmq.Options{SinkOptions: link.SinkOptions{URLs: "amqps://" + s.Addr()}}, "tls"},
	} {
		sink := open(t, c.o)
		if err := probe(t, sink); err == nil || !strings.Contains(strings.ToLower(err.Error()), c.want) {
			t.Errorf("%s: probe says %v, want something about %q", name, err, c.want)
		}
	}
	demandFaultsNamed(t, s, ours, other)
}

func declare(t *testing.T, url, queue string) {
	t.Helper()
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDeclare(queue, true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
}

func TestOpenFailsForWhatAPersonHasToFix(t *testing.T) {
	a := authority.New(t, "ours")
	certFile, _ := a.Issue("one")
	_, otherKey := a.Issue("two")
	missing := filepath.Join(t.TempDir(), "missing")
	for _, c := range []struct {
		name string
		o    rabbitmq.Options
		want string
	}{
		{"no address", rabbitmq.Options{}, "no server given"},
		{"scheme", rabbitmq.Options{SinkOptions: link.SinkOptions{URLs: "nats://u:secret@h"}}, `scheme is "nats", want amqp or amqps`},
		{"no host", rabbitmq.Options{SinkOptions: link.SinkOptions{URLs: "amqp://u:secret@:5672"}}, "no host name"},
		{"password with a slash", rabbitmq.Options{SinkOptions: link.SinkOptions{URLs: "amqp://u:sec/ret@h"}}, "percent-encode"},
		{"password with a percent", rabbitmq.Options{SinkOptions: link.SinkOptions{URLs: "amqp://u:sec%ret@h:1"}}, "percent-encode"},
		{"second of two", rabbitmq.Options{SinkOptions: link.SinkOptions{URLs: "amqp://h:1,amqp://u:secret@h:secret"}}, "server 2 of the list is not a URL"},
		{"CA missing", rabbitmq.Options{SinkOptions: link.SinkOptions{URLs: "amqps://h", TLS: rabbitmq.TLS{CAFile: missing}}}, "read CA file"},
		{"certificate alone", rabbitmq.Options{SinkOptions: link.SinkOptions{URLs: "amqps://h", TLS: rabbitmq.TLS{CertFile: certFile}}}, "go together"},
		{"pair", rabbitmq.Options{SinkOptions: link.SinkOptions{URLs: "amqps://h", TLS: rabbitmq.TLS{CertFile: certFile, KeyFile: otherKey}}}, "read client certificate"},
		{"TLS files in the clear", rabbitmq.Options{SinkOptions: link.SinkOptions{URLs: "amqp://h", TLS: rabbitmq.TLS{CAFile: a.File}}}, "use amqps://"},
		{"default exchange made", rabbitmq.Options{SinkOptions: link.SinkOptions{URLs: "amqp://h", Topology: rabbitmq.Create}}, "cannot be created"},
		{"long exchange", rabbitmq.Options{SinkOptions: link.SinkOptions{URLs: "amqp://h"}, Exchange: strings.Repeat("x", 256)}, "256 bytes"},
		{"negative", rabbitmq.Options{SinkOptions: link.SinkOptions{URLs: "amqp://h", AckTimeout: -1}}, "cannot be negative"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := rabbitmq.Open(c.o)
			if err == nil {
				s.Close(context.Background())
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
