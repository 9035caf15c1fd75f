package natsjs_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/authority"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/transcript"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/wiretap"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
	"github.com/outbox-relay/outbox-relay/sinks/natsjs"
	"github.com/outbox-relay/outbox-relay/sinks/sinktest"
)

// A server on this host makes one known that is on another, and takes plaintext. The
// relay would log in there with the credentials of the first.
func TestServersThatOthersMakeKnownAreJudgedToo(t *testing.T) {
	t.Parallel()
	const users = "authorization { user: relay, password: secret }\njetstream: false\n"
	routes := freePort(t)
	second := startPlain(t, users) // for its port, behind the wiretap
	tap := wiretap.Start(t, second.Addr())
	first := startPlain(t, users+fmt.Sprintf("cluster { name: c, listen: \"127.0.0.1:%d\" }", routes))
	// Its fellow makes the wiretap known in its own place.
	startPlain(t, users+fmt.Sprintf("client_advertise: %q\ncluster { name: c, listen: \"127.0.0.1:%d\", routes: [\"nats-route://127.0.0.1:%d\"] }",
		tap.Addr(), freePort(t), routes))

	const patience = time.Minute
	for _, required := range []bool{false, true} {
		sinktest.Eventually(t, patience, "the other server is known", func() error {
			conn, err := nats.Connect("nats://relay:secret@" + first.Addr())
			if err != nil {
				return err
			}
			defer conn.Close()
			if known := conn.DiscoveredServers(); !slices.Contains(known, "nats://"+tap.Addr()) {
				return fmt.Errorf("known are %v", known)
			}
			return nil
		})
		log := &transcript.Text{}
		e := &relay.Encryption{Required: required, Logger: slog.New(slog.NewTextHandler(log, nil))}
		s := open(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: "nats://relay:secret@" + first.Addr(), Logger: slog.New(slog.NewTextHandler(log, nil))}, Encryption: e})
		sinktest.Eventually(t, patience, "a connection", func() error {
			if err := probe(t, s); err == nil || !strings.Contains(log.String(), "connected to NATS") {
				return fmt.Errorf("probe says %w", err) // there is no JetStream
			}
			return nil
		})
		before := len(tap.Heard())
		first.Shutdown()
		sinktest.Eventually(t, patience, "the other server is judged", func() error {
			err := probe(t, s)
			_, refused := errors.AsType[*relay.PlaintextError](err)
			if refused != required || !required && !strings.Contains(log.String(), "a connection is not protected") {
				return fmt.Errorf("probe says %w; the log: %s", err, log.String())
			}
			return nil
		})
		if heard := tap.Heard()[before:]; strings.Contains(heard, "secret") == required {
			t.Errorf("required: %v: the one in between has heard %q", required, heard)
		}
		if err := first.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPlaintextToAnotherHostIsRefusedOnDemand(t *testing.T) {
	t.Parallel()
	a := authority.New(t, "ours")
	certFile, keyFile := a.IssueAddress("server", wiretap.Address(t))
	plain := startPlain(t, "authorization { user: relay, password: secret }")
	encrypted := startPlain(t, fmt.Sprintf("authorization { user: relay, password: secret }\ntls { cert_file: %q, key_file: %q }", certFile, keyFile))
	tap, tls := wiretap.Start(t, plain.Addr()), wiretap.Start(t, encrypted.Addr())
	var log bytes.Buffer
	e := &relay.Encryption{Required: true, Logger: slog.New(slog.NewTextHandler(&log, nil))}
	err := probe(t, open(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: "nats://relay:secret@" + tap.Addr()}, Encryption: e}))
	if _, refused := errors.AsType[*relay.PlaintextError](err); !refused || strings.Contains(tap.Heard(), "secret") {
		t.Errorf("probe says %v, the one in between has heard %q", err, tap.Heard())
	}
	for _, url := range []string{"tls://relay:secret@" + tls.Addr(), "nats://relay:secret@" + plain.Addr()} {
		o := natsjs.Options{SinkOptions: link.SinkOptions{URLs: url, Topology: natsjs.Create}, Encryption: e}
		if strings.HasPrefix(url, "tls:") {
			o.TLS.CAFile = a.File
		}
		works(t, o)
	}
	if log.Len() > 0 || strings.Contains(tls.Heard(), "secret") {
		t.Errorf("logged %q; heard %q", log.String(), tls.Heard())
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	port, err := testbed.ReservePort(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { port.Close() })
	return port.Number
}
