package main

import (
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay"
)

func TestPauseIsToldAndEnded(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.relays()
	got := do(t, p.environ(), "pause", "--reason", "the broker moves")
	if got.status != 0 || !strings.HasPrefix(got.stdout, "public.outbox is paused by "+p.role+" from ") || !strings.HasSuffix(got.stdout, ": the broker moves\n") {
		t.Fatalf("%+v", got)
	}
	p.awaits(checkProgress, relay.Fine, "the table is paused")
	found := p.suffers("pause", relay.Warning, "the broker moves", "nothing new is published")
	if got := do(t, p.environ(), "status"); !strings.Contains(got.stdout, "the broker moves") {
		t.Errorf("status: %+v", got)
	}
	if got := do(t, p.environ(), "health", "--ready"); got.status != 0 || !strings.Contains(got.stdout, "polling, paused") {
		t.Errorf("health: %+v", got)
	}
	for _, line := range found.Fix {
		p.follow(line)
	}
	p.awaits(checkProgress, relay.Fine, "what is due is sent")
	if got := do(t, p.environ(), "resume", "--json"); got.status != 0 || !strings.Contains(got.stdout, `"paused": false`) || !strings.Contains(got.stdout, `"paused_since": null`) {
		t.Errorf("resumed twice: %+v", got)
	}
	if got := do(t, p.environ(), "pause", "--json"); got.status != 0 || !strings.Contains(got.stdout, `"paused": true`) {
		t.Errorf("%+v", got)
	}
}

func TestPausingNeedsAGrant(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.sql("REVOKE ALL ON outbox_note FROM " + p.role)
	for _, command := range []string{"pause", "resume"} {
		got := do(t, p.environ(), command)
		if got.status != 1 || !strings.Contains(got.stderr, "GRANT SELECT, UPDATE (paused_at, paused_by, pause_reason) ON \"public\".\"outbox_note\" TO ") {
			t.Errorf("%s: %+v", command, got)
		}
	}
	p.sql("DROP TABLE outbox_note")
	if got := do(t, p.environ(), "pause"); got.status != 1 || !strings.Contains(got.stderr, "run outbox-relay migrate") {
		t.Errorf("%+v", got)
	}
}
