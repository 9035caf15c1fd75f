package main

import (
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/relay"
)

func TestAdoptShowsWhatItChangesAndAsks(t *testing.T) {
	env := []string{"OUTBOX_DATABASE_URL=" + pgtest.Database(t)}
	production, test := append(env, "OUTBOX_ENVIRONMENT=production"), append(env[:1:1], "OUTBOX_ENVIRONMENT=test")
	if got := do(t, env, "adopt", "--yes"); got.status != 1 || !strings.Contains(got.stderr, "Run the migration, which notes where the table belongs: outbox-relay migrate") {
		t.Errorf("without a table: %+v", got)
	}
	if got := do(t, production, "migrate"); got.status != 0 || !strings.Contains(got.stdout, "environment 'production'") {
		t.Fatalf("%+v", got)
	}
	if got := do(t, production, "adopt"); got.status != 0 || !strings.HasPrefix(got.stdout, `public.outbox belongs here already: environment "production"`) {
		t.Errorf("nothing to do: %+v", got)
	}
	if got := do(t, test, "adopt"); got.status != 1 || !strings.Contains(got.stderr, "give --yes") ||
		!strings.Contains(got.stdout, `noted  environment "production"`) || !strings.Contains(got.stdout, `here   environment "test"`) {
		t.Errorf("on a pipe: %+v", got)
	}
	if got := do(t, test, "adopt", "--yes"); got.status != 0 || !strings.HasSuffix(got.stdout, "noted that public.outbox belongs here\n") {
		t.Errorf("%+v", got)
	}
	if got := do(t, production, "migrate"); got.status != 0 || !strings.Contains(got.stderr, "warning: table \"public\".\"outbox\" belongs to environment 'test'") {
		t.Errorf("%+v", got)
	}
	if got := do(t, append(env[:1:1], "OUTBOX_ENVIRONMENT=two words"), "adopt", "--yes"); got.status != 2 || !strings.Contains(got.stderr, "expected one word") {
		t.Errorf("%+v", got)
	}
}

// The relay's role may not adopt, the owner may; the relay goes on without a restart.
func TestRelayOfAnotherEnvironmentSaysHowToAdopt(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.env["OUTBOX_ENVIRONMENT"] = "production"
	p.run("outbox-relay adopt --yes")
	p.suffers("origin", relay.Fine, `environment "production"`)

	p.env["OUTBOX_ENVIRONMENT"] = "test"
	p.sql("INSERT INTO outbox (topic, payload) VALUES ('orders', '1')")
	p.relays()
	fault := p.awaits("origin", relay.Fault, `belongs to environment "production", and OUTBOX_ENVIRONMENT is "test"`)
	p.awaits(checkRelay, relay.Warning, "not ready: nothing is published", `environment "production"`)
	if got := do(t, p.environ(), "health", "--ready"); got.status != 1 || !strings.Contains(got.stderr, "nothing is published") {
		t.Errorf("ready: %+v", got)
	}
	if got := do(t, p.environ(), "status"); !strings.Contains(got.stdout, `belongs to environment "production"`) {
		t.Errorf("status: %+v", got)
	}
	if got := do(t, p.environ(), "adopt", "--yes"); got.status != 1 || !strings.Contains(got.stderr, "may not say where table") {
		t.Errorf("the relay's role adopts: %+v", got)
	}
	p.recovers(fault)
	p.awaits(checkRelay, relay.Fine, "for")
	p.awaits(checkProgress, relay.Fine)
}
