package natsjs_test

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/authority"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/natsserver"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
	"github.com/outbox-relay/outbox-relay/sinks/natsjs"
	"github.com/outbox-relay/outbox-relay/sinks/sinktest"
)

func TestTLSWithOwnAuthorityAndClientCertificate(t *testing.T) {
	ours, other := authority.New(t, "ours"), authority.New(t, "other")
	serverCert, serverKey := ours.Issue("server")
	clientCert, clientKey := ours.Issue("client")
	s, err := natsserver.StartInProcess(t.Context(), natsserver.Options{Config: fmt.Sprintf(
		"tls { cert_file: %q, key_file: %q, ca_file: %q, verify: true }", serverCert, serverKey, ours.File)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	for _, scheme := range []string{"tls", "nats"} {
		works(t, natsjs.Options{
			SinkOptions: link.SinkOptions{
				URLs:     scheme + "://" + s.Addr(),
				Topology: natsjs.Create,
				TLS:      natsjs.TLS{CAFile: ours.File, CertFile: clientCert, KeyFile: clientKey},
			},
		})
	}
	for name, c := range map[string]struct {
		tls  natsjs.TLS
		want string
	}{
		"another authority":     {natsjs.TLS{CAFile: other.File, CertFile: clientCert, KeyFile: clientKey}, "certificate"},
		"no client certificate": {natsjs.TLS{CAFile: ours.File}, "OUTBOX_TLS_CERT_FILE"},
	} {
		err := probe(t, open(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: "tls://" + s.Addr(), TLS: c.tls}}))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: probe says %v, want something about %q", name, err, c.want)
		}
	}
}

// The certificates have a host name, and the servers make their addresses known.
func TestDiscoveredServerIsVerifiedByTheNameOfTheOneThatMadeItKnown(t *testing.T) {
	t.Parallel()
	a := authority.New(t, "ours")
	certFile, keyFile := a.IssueHost("localhost")
	c, err := natsserver.StartCluster(t.Context(), 3, natsserver.Options{Config: fmt.Sprintf("tls { cert_file: %q, key_file: %q }", certFile, keyFile)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	_, port, err := net.SplitHostPort(c.Servers[0].Addr())
	if err != nil {
		t.Fatal(err)
	}
	for _, scheme := range []string{"nats", "tls"} {
		seed := scheme + "://localhost:" + port
		js, err := jetstream.New(connect(t, seed, nats.RootCAs(a.File)))
		if err != nil {
			t.Fatal(err)
		}
		sinktest.Eventually(t, time.Minute, "a stream", func() error {
			_, err := js.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{Name: "GOOD", Subjects: []string{"good.>"}, Replicas: 3})
			return err
		})
		s := open(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: seed, TLS: natsjs.TLS{CAFile: a.File}}})
		reach(t, s)
		c.Servers[0].Shutdown()
		reach(t, s)
		expect(t, s, messageTo(goodTopic, 1), relay.Acknowledged, "", "")
		if err := c.Servers[0].Restart(context.WithoutCancel(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	// A server of another name is not believed.
	err = probe(t, open(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: "tls://" + c.Servers[1].Addr(), TLS: natsjs.TLS{CAFile: a.File}}}))
	if err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("probe says %v", err)
	}
}

func TestServerThatWantsTLSFirst(t *testing.T) {
	t.Parallel()
	a := authority.New(t, "ours")
	certFile, keyFile := a.Issue("server")
	first := startPlain(t, fmt.Sprintf("tls { cert_file: %q, key_file: %q, handshake_first: true, timeout: 1 }", certFile, keyFile))
	files := natsjs.TLS{CAFile: a.File}
	works(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: first.URL(), Topology: natsjs.Create, TLS: files}, TLSFirst: true})
	for _, o := range []natsjs.Options{{SinkOptions: link.SinkOptions{URLs: "tls://" + first.Addr(), TLS: files}}, {SinkOptions: link.SinkOptions{URLs: first.URL()}}} {
		if err := probe(t, open(t, o)); err == nil || !strings.Contains(err.Error(), "set OUTBOX_NATS_TLS_FIRST=on") {
			t.Errorf("probe without the handshake first says %v", err)
		}
	}
	for _, config := range []string{"", fmt.Sprintf("tls { cert_file: %q, key_file: %q }", certFile, keyFile)} {
		later := startPlain(t, config)
		err := probe(t, open(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: later.URL(), TLS: files}, TLSFirst: true}))
		if err == nil || !strings.Contains(err.Error(), "unset OUTBOX_NATS_TLS_FIRST") {
			t.Errorf("probe with the handshake first says %v", err)
		}
	}
}

func TestTLSIsNotGivenUpSilently(t *testing.T) {
	a := authority.New(t, "ours")
	s, err := natsserver.StartInProcess(t.Context(), natsserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	err = probe(t, open(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: s.URL(), TLS: natsjs.TLS{CAFile: a.File}}}))
	if err == nil || !strings.Contains(err.Error(), "offers no TLS") {
		t.Errorf("probe says %v", err)
	}
}

func TestOpenFailsForWhatAPersonHasToFix(t *testing.T) {
	a := authority.New(t, "ours")
	certFile, _ := a.Issue("one")
	_, otherKey := a.Issue("two")
	missing := filepath.Join(t.TempDir(), "missing")
	junk := file(t, "junk", []byte("no PEM, no seed, secret-junk"))
	for _, c := range []struct {
		name string
		o    natsjs.Options
		want string
	}{
		{"no address", natsjs.Options{}, "no server given"},
		{"scheme", natsjs.Options{SinkOptions: link.SinkOptions{URLs: "amqp://u:secret@h"}}, `server 1 of the list: scheme is "amqp", want nats or tls`},
		{"no host", natsjs.Options{SinkOptions: link.SinkOptions{URLs: "nats://u:secret@:4222"}}, "no host name"},
		{"password with a slash", natsjs.Options{SinkOptions: link.SinkOptions{URLs: "nats://u:sec/ret@h"}}, "percent-encode"},
		{"password with a percent", natsjs.Options{SinkOptions: link.SinkOptions{URLs: "nats://u:sec%ret@h:1"}}, "percent-encode"},
		{"second of two", natsjs.Options{SinkOptions: link.SinkOptions{URLs: "nats://h:1,nats://u:secret@h:secret"}}, "server 2 of the list is not a URL"},
		{"credentials missing", natsjs.Options{SinkOptions: link.SinkOptions{URLs: "nats://h"}, CredsFile: missing}, "read credentials file " + missing},
		{"credentials junk", natsjs.Options{SinkOptions: link.SinkOptions{URLs: "nats://h"}, CredsFile: junk}, "find the user's"},
		{"nkey missing", natsjs.Options{SinkOptions: link.SinkOptions{URLs: "nats://h"}, NKeyFile: missing}, "read nkey file " + missing},
		{"nkey junk", natsjs.Options{SinkOptions: link.SinkOptions{URLs: "nats://h"}, NKeyFile: junk}, "want the seed of a user"},
		{"two ways", natsjs.Options{SinkOptions: link.SinkOptions{URLs: "nats://h"}, NKeyFile: junk, Token: "secret"}, "exclude each other"},
		{"CA missing", natsjs.Options{SinkOptions: link.SinkOptions{URLs: "nats://h", TLS: natsjs.TLS{CAFile: missing}}}, "read CA file"},
		{"CA junk", natsjs.Options{SinkOptions: link.SinkOptions{URLs: "nats://h", TLS: natsjs.TLS{CAFile: junk}}}, "no PEM certificate"},
		{"certificate alone", natsjs.Options{SinkOptions: link.SinkOptions{URLs: "nats://h", TLS: natsjs.TLS{CertFile: certFile}}}, "go together"},
		{"pair", natsjs.Options{SinkOptions: link.SinkOptions{URLs: "nats://h", TLS: natsjs.TLS{CertFile: certFile, KeyFile: otherKey}}}, "read client certificate"},
		{"inbox prefix", natsjs.Options{SinkOptions: link.SinkOptions{URLs: "nats://h"}, InboxPrefix: "a.>"}, "inbox prefix"},
		{"negative", natsjs.Options{SinkOptions: link.SinkOptions{URLs: "nats://h", AckTimeout: -1}}, "cannot be negative"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := natsjs.Open(c.o)
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
