package engine_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
	"github.com/outbox-relay/outbox-relay/schema"
)

func (h *harness) adopt(environment string) {
	h.Helper()
	if err := schema.Adopt(h.Context(), h.conn, schema.Table{Schema: "public", Name: "outbox"}, environment); err != nil {
		h.Fatal(err)
	}
}

func (h *harness) untilForeign() {
	h.Helper()
	h.until("the relay says that the table is foreign", func() bool {
		s := h.relay.Status()
		return s.Foreign != "" && s.Mode == relay.Connecting && strings.Contains(s.Reason, `environment "production"`)
	})
}

// A table that is of another environment from the start, or from some moment on.
func TestForeignTableIsNotPublished(t *testing.T) {
	h := start(t, nil, func(h *harness) { h.adopt("production") })
	h.run()
	h.insert(1)
	h.untilForeign()
	h.untilLogged("the outbox table belongs to another environment: nothing of it is published")
	if ids := h.sink.ids(); len(ids) > 0 {
		t.Errorf("published %v", ids)
	}
	h.adopt("")
	h.untilMarked(1)
	if s := h.relay.Status(); s.Foreign != "" || s.Doubt != "" || s.Database == "" {
		t.Errorf("adopted: %+v", s.NoteStatus)
	}

	h.adopt("production")
	h.untilForeign()
	before := h.sink.ids()
	h.insert(1)
	h.adopt("production") // a moment later
	h.untilForeign()
	if after := h.sink.ids(); !slices.Equal(before, after) {
		t.Errorf("published %v after %v", after, before)
	}
	h.adopt("")
	h.untilMarked(2)
	h.untilLogged("recovered")
}

func TestDoubtIsToldAndStopsNothing(t *testing.T) {
	h := start(t, nil, func(h *harness) { h.exec("DROP TABLE outbox_note") })
	h.run()
	h.insert(1)
	h.untilMarked(1)
	h.until("the doubt is told", func() bool { return strings.Contains(h.relay.Status().Doubt, "outbox-relay migrate") })
	h.untilLogged("the outbox table may be a copy, or nothing tells whether it is one")
	if err := schema.Migrate(t.Context(), h.conn, schema.Options{Table: schema.Table{Schema: "public", Name: "outbox"}}); err != nil {
		t.Fatal(err)
	}
	h.until("it has gone", func() bool { return h.relay.Status().Doubt == "" })
}

func (h *harness) pause(reason string) {
	h.Helper()
	if _, err := h.config.Database.(*postgres.Database).Pause(h.Context(), reason); err != nil {
		h.Fatal(err)
	}
}

// Also over a restart, and with rows that are being sent.
func TestPauseOutlivesTheRelay(t *testing.T) {
	h := start(t, nil, nil)
	stop := h.run()
	h.insert(1)
	h.untilMarked(1)
	h.pause("the broker moves")
	paused := func() bool {
		p := h.relay.Status().Pause
		return p.On() && p.Reason == "the broker moves" && p.By != ""
	}
	h.until("it is paused", paused)
	h.untilLogged("paused: nothing new is published")
	before := h.sink.ids()
	h.insert(1)
	stop()
	h.run()
	h.until("the next one is paused", func() bool { return paused() && h.relay.Status().Mode.Leads() })
	h.pause("another reason")
	h.until("it says the other reason", func() bool { return h.relay.Status().Pause.Reason == "another reason" })
	if after := h.sink.ids(); !slices.Equal(before, after) {
		t.Errorf("published %v after %v", after, before)
	}
	if s := h.relay.Status(); s.Stalled != "" {
		t.Errorf("stalled: %s", s.Stalled)
	}
	ended, err := h.config.Database.(*postgres.Database).Resume(t.Context())
	if err != nil || ended.Reason != "another reason" {
		t.Errorf("ended %v, %v", ended, err)
	}
	h.untilMarked(2)
	h.until("it says no more that it is paused", func() bool { return !h.relay.Status().Pause.On() })
	if ended, err := h.config.Database.(*postgres.Database).Resume(t.Context()); err != nil || ended.On() {
		t.Errorf("resumed twice: %v, %v", ended, err)
	}
}
