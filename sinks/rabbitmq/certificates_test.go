package rabbitmq_test

import (
	"net"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/authority"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/rabbitserver"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
	"github.com/outbox-relay/outbox-relay/sinks/rabbitmq"
)

// demandNamed has the error and doctor name a certificate's fault and what to do.
func demandNamed(t *testing.T, name string, o rabbitmq.Options, says, fix string) {
	t.Helper()
	err := probe(t, open(t, o))
	if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), fix) {
		t.Errorf("%s: probe says %v, want %q and %q in it", name, err, says, fix)
	}
	checks := rabbitmq.Examine(t.Context(), o, nil)
	if len(checks) != 1 || checks[0].Severity != relay.Fault || !strings.Contains(checks[0].Fix, fix) {
		t.Errorf("%s: doctor says %+v, want the fix %q", name, checks, fix)
	}
}

// demandFaultsNamed has each fault of a certificate, of either side, named. The node's own
// certificate is replaced in the end.
func demandFaultsNamed(t *testing.T, s *rabbitserver.Server, ours, other *authority.Authority) {
	t.Helper()
	_, port, err := net.SplitHostPort(s.TLSAddr())
	if err != nil {
		t.Fatal(err)
	}
	files := func(cert, key string) rabbitmq.TLS {
		return rabbitmq.TLS{CAFile: ours.File, CertFile: cert, KeyFile: key}
	}
	with := func(host string, tls rabbitmq.TLS) rabbitmq.Options {
		return rabbitmq.Options{SinkOptions: link.SinkOptions{URLs: "amqps://" + net.JoinHostPort(host, port), TLS: tls}}
	}
	const here = "127.0.0.1"
	demandNamed(t, "the server's authority", with(here, rabbitmq.TLS{CAFile: other.File}), "signed by unknown authority", "set OUTBOX_TLS_CA_FILE")
	demandNamed(t, "the server's name", with("localhost", rabbitmq.TLS{CAFile: ours.File}), "localhost", "certificate is for other names")
	demandNamed(t, "the client's authority", with(here, files(other.Issue("certified"))), "not allowed", "OUTBOX_TLS_CERT_FILE")
	demandNamed(t, "the client's time", with(here, files(ours.IssueExpired("expired-client"))), "tls:", "OUTBOX_TLS_CERT_FILE")
	cert, key := ours.IssueExpired("expired")
	if err := s.ReplaceTLS(t.Context(), map[string]string{"certfile": cert, "keyfile": key}); err != nil {
		t.Fatal(err)
	}
	demandNamed(t, "the server's time", with(here, rabbitmq.TLS{CAFile: ours.File}), "has expired", "server's certificate is not valid today")
}
