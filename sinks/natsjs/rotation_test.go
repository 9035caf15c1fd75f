package natsjs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/authority"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/natsserver"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
	"github.com/outbox-relay/outbox-relay/sinks/natsjs"
)

// rotating is a server whose configuration is in a file that a test rewrites.
type rotating struct {
	*natsserver.Server
	t    *testing.T
	part string
}

func startRotating(t *testing.T, config string) *rotating {
	t.Helper()
	r := &rotating{t: t, part: filepath.Join(t.TempDir(), "rotated.conf")}
	r.write(config)
	// The server looks for an included file below its own directory.
	r.Server = startPlain(t, fmt.Sprintf("include %q", "../../../../../../.."+r.part))
	return r
}

func (r *rotating) write(config string) {
	r.t.Helper()
	if err := os.WriteFile(r.part, []byte(config), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// takeOnly has the server take nothing but the new secrets, and ends all connections.
func (r *rotating) takeOnly(config string) {
	r.t.Helper()
	r.write(config)
	r.Shutdown()
	if err := r.Restart(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// A file of each kind is replaced beside a sink that publishes, and the server then takes
// nothing but the new one.
func TestRotatedFilesAreTakenUpWithoutARestart(t *testing.T) {
	t.Parallel()
	replace := func(t *testing.T, name, by string) {
		text, err := os.ReadFile(by)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	nkeys := func(u natsUser) string { return fmt.Sprintf("authorization { users: [{nkey: %s}] }", u.public) }
	for name, prepare := range map[string]func(t *testing.T) (before, after string, o natsjs.Options, rotate func()){
		"nkey": func(t *testing.T) (string, string, natsjs.Options, func()) {
			first, second := newUser(t), newUser(t)
			return nkeys(first), nkeys(second), natsjs.Options{NKeyFile: first.file}, func() { replace(t, first.file, second.file) }
		},
		"creds": func(t *testing.T) (string, string, natsjs.Options, func()) {
			before, creds := operatorConfig(t)
			after, renewed := operatorConfig(t)
			used := file(t, "user.creds", creds)
			return before, after, natsjs.Options{CredsFile: used}, func() { replace(t, used, file(t, "renewed.creds", renewed)) }
		},
		"authority and client certificate": func(t *testing.T) (string, string, natsjs.Options, func()) {
			first, second := authority.New(t, "first"), authority.New(t, "second")
			mutual := func(a *authority.Authority) string {
				cert, key := a.Issue("server")
				return fmt.Sprintf("tls { cert_file: %q, key_file: %q, ca_file: %q, verify: true }", cert, key, a.File)
			}
			cert, key := first.Issue("client")
			newCert, newKey := second.Issue("client")
			o := natsjs.Options{SinkOptions: link.SinkOptions{TLS: natsjs.TLS{CAFile: first.File, CertFile: cert, KeyFile: key}}}
			// The server of before has read its files by then.
			return mutual(first), mutual(second), o, func() {
				replace(t, first.File, second.File)
				replace(t, cert, newCert)
				replace(t, key, newKey)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			before, after, o, rotate := prepare(t)
			r := startRotating(t, before)
			o.URLs, o.Topology = r.URL(), natsjs.Create
			s := open(t, o)
			reach(t, s)
			expect(t, s, messageTo(goodTopic, 1), relay.Acknowledged, "", "")
			rotate()
			r.takeOnly(after)
			reach(t, s)
			expect(t, s, messageTo(goodTopic, 2), relay.Acknowledged, "", "")
		})
	}
}
