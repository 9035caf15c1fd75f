package rabbitmq_test

import (
	"slices"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/relay"
)

// The doctor's fix adds the right to write to the exchange, and takes no other away. Its
// question publishes nothing.
func TestDoctorAddsTheRightToWrite(t *testing.T) {
	t.Parallel()
	p := newPlace(t, amqp.QueueTypeClassic)
	queue := p.queue("all", "#", nil)
	o := p.options()
	user := p.restricted(".*")
	ctl(t, "set_permissions", "-p", "/", user, "^mine$", "^other$", "^third$")
	o.URLs = server(t).URLAs(user, "secret")
	w := worst(examine(t, o, "orders"))
	if w.Severity != relay.Fault || !strings.Contains(w.Found, "may not write to exchange") {
		t.Fatalf("found %s: %s (fix: %s)", w.Severity, w.Found, w.Fix)
	}
	run(t, w.Fix)
	if w := worst(examine(t, o, "orders")); w.Severity != relay.Fine {
		t.Errorf("after the fix: %s: %s", w.Severity, w.Found)
	}
	got := ctl(t, "list_user_permissions", "-q", user)
	for _, want := range []string{"^mine$", "^other$|^" + p.exchange + "$", "^third$"} {
		if !strings.Contains(got, want) {
			t.Errorf("the user's rights are %q, want %q among them", got, want)
		}
	}
	s := open(t, o)
	reach(t, s)
	expect(t, s, messageTo("orders", 1), relay.Acknowledged, "", "")
	if stored := take(t, queue); len(stored) != 1 {
		t.Errorf("%d messages are stored, want one", len(stored))
	}
}

func TestDoctorNamesWhatTakesNoMessages(t *testing.T) {
	t.Parallel()
	p := newPlace(t, amqp.QueueTypeClassic)
	o := p.options()
	long := strings.Repeat("x", 256)
	if w := worst(examine(t, o, long)); w.Severity != relay.Fault || !strings.Contains(w.Found, "255 bytes") {
		t.Errorf("a long topic: %s: %s", w.Severity, w.Found)
	}
	o.URLs = server(t).URLAs(p.restricted(`^public\.`), "secret")
	checks := examine(t, o, "public.a", "secret.a")
	if conn, _ := connect(t); strings.HasPrefix(conn.Properties["version"].(string), "3.10.") {
		if w := worst(checks); w.Severity != relay.Fault || !strings.Contains(w.Found, `may not publish topic "secret.a"`) {
			t.Errorf("a forbidden topic: %s: %s", w.Severity, w.Found)
		}
	} else if !slices.ContainsFunc(checks, func(c relay.Check) bool { return strings.Contains(c.Found, "rabbitmqctl list_user_topic_permissions") }) {
		t.Errorf("that the rights to topics are not known is not told: %+v", checks)
	}
	internal := p.exchange + "-internal"
	if err := p.ch.ExchangeDeclare(internal, amqp.ExchangeTopic, true, false, true, false, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, ch := connect(t)
		_ = ch.ExchangeDelete(internal, false, false)
	})
	o.Exchange, o.URLs = internal, server(t).URL()
	if w := worst(examine(t, o, "a")); w.Severity != relay.Fault || !strings.Contains(w.Found, "internal") {
		t.Errorf("an internal exchange: %s: %s", w.Severity, w.Found)
	}
}

// A user may have few channels, which all its connections share. The broker's reason is
// told. The fix gives more to a relay whose user has others that take them up, and leaves
// other limits as they are.
func TestUserWithFewChannelsIsTold(t *testing.T) {
	t.Parallel()
	p := newPlace(t, amqp.QueueTypeClassic)
	p.queue("all", "#", nil)
	o := p.options()
	user := p.restricted(".*")
	o.URLs = server(t).URLAs(user, "secret")
	ctl(t, "set_user_limits", user, `{"max-channels": 20, "max-connections": 7}`)
	others, err := amqp.Dial(o.URLs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { others.Close() })
	for range 18 {
		if _, err := others.Channel(); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, o)
	err = probe(t, s)
	if err == nil || !strings.Contains(err.Error(), "maximum allowed user limit of (20)") {
		t.Fatalf("probe says %v", err)
	}
	_, fix, _ := strings.Cut(err.Error(), ": rabbitmqctl ")
	run(t, "rabbitmqctl "+fix)
	reach(t, s)
	expect(t, s, messageTo("a", 1), relay.Acknowledged, "", "")
	if got := ctl(t, "list_user_limits", "-q", "--user", user); !strings.Contains(got, `"max-connections":7`) {
		t.Errorf("the user's limits are %s", got)
	}
}
