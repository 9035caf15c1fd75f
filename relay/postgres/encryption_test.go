package postgres

import (
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/authority"
	"github.com/outbox-relay/outbox-relay/relay"
)

// What a URL promises: the weakest of its hosts' ways counts.
func TestURLPromisesItsWeakestWay(t *testing.T) {
	for _, name := range []string{"PGSSLMODE", "PGSSLROOTCERT", "PGHOST"} {
		t.Setenv(name, "")
	}
	ca := authority.New(t, "ours").File
	for url, want := range map[string]relay.Protection{
		"postgres://u@db/d":                                           relay.Plaintext, // prefer
		"postgres://u@db/d?sslmode=disable":                           relay.Plaintext,
		"postgres://u@db/d?sslmode=allow":                             relay.Plaintext,
		"postgres://u@db/d?sslmode=prefer":                            relay.Plaintext,
		"postgres://u@db/d?sslmode=prefer&sslrootcert=" + ca:          relay.Plaintext,
		"postgres://u@db/d?sslmode=prefer&gssencmode=prefer":          relay.Plaintext,
		"postgres://u@a,b/d":                                          relay.Plaintext,
		"postgres://u@db/d?sslmode=require":                           relay.Unverified,
		"postgres://u@a,b/d?sslmode=require":                          relay.Unverified,
		"postgres://u@db/d?sslnegotiation=direct&sslmode=require":     relay.Unverified,
		"postgres://u@db/d?sslmode=require&sslrootcert=" + ca:         relay.Verified,
		"postgres://u@db/d?sslmode=verify-ca&sslrootcert=" + ca:       relay.Verified,
		"postgres://u@db/d?sslmode=verify-full":                       relay.Verified,
		"postgres://u@a,b/d?sslmode=verify-full&sslrootcert=" + ca:    relay.Verified,
		"host=/run/postgresql user=u dbname=d":                        relay.Verified, // it leaves the host nowhere
		"host=/run/postgresql,db user=u dbname=d sslmode=verify-full": relay.Verified,
		"host=/run/postgresql,db user=u dbname=d":                     relay.Plaintext,
		"postgres://u@db/d?sslnegotiation=direct&sslmode=verify-full": relay.Verified,
	} {
		config, err := ParseURL(url)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		got, fix := promise(&config.Config)
		if got != want || !strings.Contains(fix, "sslmode=verify-full") {
			t.Errorf("%s promises %s, want %s (%s)", url, got, want, fix)
		}
	}
}
