package natsjs_test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/nats-io/nkeys"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/authority"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
	"github.com/outbox-relay/outbox-relay/sinks/natsjs"
)

// Each fault of a certificate, of either side, is named with what to do, by the error
// and by doctor.
func TestFaultsOfCertificatesAreNamed(t *testing.T) {
	t.Parallel()
	ours, other := authority.New(t, "ours"), authority.New(t, "other")
	tls := func(cert, key string) string { return fmt.Sprintf("tls { cert_file: %q, key_file: %q }", cert, key) }
	mutual := func(cert, key string) string {
		return fmt.Sprintf("tls { cert_file: %q, key_file: %q, ca_file: %q, verify: true }", cert, key, ours.File)
	}
	files := func(ca string, pair ...string) natsjs.TLS {
		if pair == nil {
			return natsjs.TLS{CAFile: ca}
		}
		return natsjs.TLS{CAFile: ca, CertFile: pair[0], KeyFile: pair[1]}
	}
	of := func(cert, key string) []string { return []string{cert, key} }
	for name, c := range map[string]struct {
		server string
		client natsjs.TLS
		want   [2]string // what TLS says, and what to do
	}{
		"the server's authority": {
			tls(ours.Issue("server")), files(other.File), [2]string{"signed by unknown authority", "set OUTBOX_TLS_CA_FILE"},
		},
		"the system's authorities": {
			tls(ours.Issue("server")), natsjs.TLS{}, [2]string{"signed by unknown authority", "set OUTBOX_TLS_CA_FILE"},
		},
		"the server's name": {
			tls(ours.IssueHost("elsewhere.example")), files(ours.File), [2]string{"127.0.0.1", "certificate is for other names"},
		},
		"the server's time": {
			tls(ours.IssueExpired("expired")), files(ours.File), [2]string{"has expired", "server's certificate is not valid today"},
		},
		"the client's authority": {
			mutual(ours.Issue("server")), files(ours.File, of(other.Issue("client"))...), [2]string{"tls", "OUTBOX_TLS_CERT_FILE"},
		},
		"the client's time": {
			mutual(ours.Issue("server")), files(ours.File, of(ours.IssueExpired("expired-client"))...), [2]string{"tls", "OUTBOX_TLS_CERT_FILE"},
		},
		"no client certificate": {
			mutual(ours.Issue("server")), files(ours.File), [2]string{"tls", "OUTBOX_TLS_CERT_FILE"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := natsjs.Options{SinkOptions: link.SinkOptions{URLs: "tls://" + startPlain(t, c.server).Addr(), TLS: c.client}}
			err := probe(t, open(t, o))
			checks := natsjs.Examine(t.Context(), o, nil)
			for _, want := range c.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("probe says %v, want %q in it", err, want)
				}
			}
			if len(checks) != 1 || checks[0].Severity != relay.Fault || !strings.Contains(checks[0].Fix, c.want[1]) {
				t.Errorf("doctor says %+v, want the fix %q", checks, c.want[1])
			}
		})
	}
}

// Credentials of each kind go over TLS, and wrong ones are named as such.
func TestCredentialsOfEachKindOverTLS(t *testing.T) {
	t.Parallel()
	ours := authority.New(t, "ours")
	cert, key := ours.Issue("server")
	tls := fmt.Sprintf("tls { cert_file: %q, key_file: %q }\n", cert, key)
	user, stranger := newUser(t), newUser(t)
	config, creds := operatorConfig(t)
	_, foreign := operatorConfig(t)
	for name, c := range map[string]struct {
		server       string
		right, wrong natsjs.Options
	}{
		"nkey":  {fmt.Sprintf("authorization { users: [{nkey: %s}] }", user.public), natsjs.Options{NKeyFile: user.file}, natsjs.Options{NKeyFile: stranger.file}},
		"creds": {config, natsjs.Options{CredsFile: file(t, "right.creds", creds)}, natsjs.Options{CredsFile: file(t, "wrong.creds", foreign)}},
		"token": {"authorization { token: right }", natsjs.Options{Token: "right"}, natsjs.Options{Token: "wrong"}},
	} {
		t.Run(name, func(t *testing.T) {
			at := startPlain(t, tls+c.server).Addr()
			_, port, err := net.SplitHostPort(at)
			if err != nil {
				t.Fatal(err)
			}
			over := func(o natsjs.Options) natsjs.Options {
				o.SinkOptions = link.SinkOptions{URLs: "tls://127.0.0.1:" + port, TLS: natsjs.TLS{CAFile: ours.File}, Topology: natsjs.Create}
				return o
			}
			works(t, over(c.right))
			err = probe(t, open(t, over(c.wrong)))
			if err == nil || !strings.Contains(err.Error(), "Authorization Violation") || !strings.Contains(err.Error(), "OUTBOX_NATS_*") {
				t.Errorf("probe with wrong credentials says %v", err)
			}
		})
	}
}

type natsUser struct{ public, file string }

func newUser(t *testing.T) natsUser {
	t.Helper()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	seed, _ := pair.Seed()
	public, _ := pair.PublicKey()
	return natsUser{public, file(t, "user.nk", seed)}
}
