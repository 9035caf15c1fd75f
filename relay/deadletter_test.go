package relay_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

func header(m *relay.Message, name string) string {
	i := slices.IndexFunc(m.Headers, func(h relay.Header) bool { return h.Name == name })
	if i < 0 {
		return ""
	}
	return m.Headers[i].Value
}

func TestCopyOfADeadRowSaysWhyAndWhence(t *testing.T) {
	key := "k"
	d := relay.DeadLetter{
		Ref: relay.Ref{ID: 42, MessageID: relay.MessageID{1}}, Topic: "orders\x1b[2J", Key: &key, ContentType: "text/plain",
		Headers: []byte(`{"Nats-Msg-Id": "forged", "a": "b", "c": "line\nbreak", "Outbox-Error": "forged"}`),
		Payload: []byte("x"), DeadAt: time.Unix(1000, 0), Attempts: 10, ErrorType: relay.ErrorTypeUnroutable, LastError: "unroutable: \nno stream",
	}
	m := d.Copy("dead", 0)
	for name, want := range map[string]string{
		"a": "b", "c": "", "Nats-Msg-Id": "", "Outbox-Error": "unroutable:  no stream", "Outbox-Error-Type": "unroutable", "Outbox-Origin-Id": "42",
		"Outbox-Origin-Message-Id": d.MessageID.String(), "Outbox-Attempts": "10", "Outbox-Dead-At": "1970-01-01T00:16:40Z", "Outbox-Left-Out": "",
	} {
		if got := header(m, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if err := relay.Validate(m); err != nil || m.Topic != "dead" || m.Key != "k" || string(m.Payload) != "x" || m.ContentType != "text/plain" {
		t.Errorf("%+v, %v", m, err)
	}
	if m.MessageID == d.MessageID || m.MessageID != d.Copy("dead", relay.LeftAll).MessageID {
		t.Error("the copy's id is not its own, or not the same each time")
	}
	again := d
	again.DeadAt = d.DeadAt.Add(time.Second)
	if again.Copy("dead", 0).MessageID == m.MessageID {
		t.Error("another death has the same id")
	}
	m = d.Copy("dead", relay.LeftAll)
	if m.Keyed || m.ContentType != "" || len(m.Payload) != 0 || header(m, "a") != "" || !strings.Contains(header(m, "Outbox-Left-Out"), "payload") {
		t.Errorf("%+v", m)
	}
	m.Own = false
	if relay.Validate(m) == nil {
		t.Error("a row may have the relay's own headers")
	}
}

func TestCopyLeavesOutOnePartAfterTheOther(t *testing.T) {
	left, more := relay.LeftOut(0).More(relay.ErrorTypeTooLarge)
	if left != relay.LeftPayload || !more {
		t.Error(left, more)
	}
	for range 2 {
		if left, more = left.More(relay.ErrorTypeInvalid); !more {
			t.Error(left)
		}
	}
	if left != relay.LeftAll {
		t.Error(left)
	}
	if _, more = left.More(relay.ErrorTypeInvalid); more {
		t.Error("there is more than all")
	}
}
