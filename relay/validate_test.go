package relay_test

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/outbox-relay/outbox-relay/relay"
)

func TestValidateSaysWhatToFix(t *testing.T) {
	header := func(name, value string) relay.Message {
		return relay.Message{Topic: "t", Headers: []relay.Header{{Name: "good", Value: "1"}, {Name: name, Value: value}}}
	}
	for _, c := range []struct {
		name string
		m    relay.Message
		want string // empty: valid
	}{
		{"plain", relay.Message{Topic: "t"}, ""},
		{"everything", relay.Message{Topic: "ü.ß", Keyed: true, Key: "schlüssel ", ContentType: "a/b; c=d", Headers: []relay.Header{{Name: "Näme", Value: " 🧾 "}}}, ""},
		{"malformed traceparent", header("traceparent", "nonsense"), ""},
		{"key without keyed means nothing", relay.Message{Topic: "t", Key: "\n"}, ""},
		{"topic", relay.Message{Topic: "a\nb"}, `topic "a\nb" contains a control character`},
		{"topic encoding", relay.Message{Topic: "a\xff"}, `topic "a\xff" is not UTF-8`},
		{"key", relay.Message{Topic: "t", Keyed: true, Key: "a\x00"}, `key "a\x00" contains a control character`},
		{"content type", relay.Message{Topic: "t", ContentType: "a\r"}, `content_type "a\r" contains a control character`},
		{"empty name", header("", "v"), "empty name"},
		{"name", header("a\tb", "v"), `header name "a\tb" contains a control character`},
		{"name encoding", header("\xff", "v"), `header name "\xff" is not UTF-8`},
		{"value", header("a", "secret\n"), `header "a" has a value with a control character`},
		{"content type as header", header("CONTENT-TYPE", "v"), "set the column content_type"},
		{"reserved", header("nAts-Expected-Stream", "v"), "is reserved (nats-*)"},
		{"reserved for the relay", header("Outbox-Key", "v"), "is reserved (outbox-*)"},
		{"the bare prefix", header("Nats-", "v"), "is reserved"},
		{"near a prefix", header("Nats", "v"), ""},
		{"long value", relay.Message{Topic: strings.Repeat("é", 1000) + "\n"}, "… (2001 bytes)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := relay.Validate(&c.m)
			if c.want == "" {
				if err != nil {
					t.Errorf("rejected: %v", err)
				}
				return
			}
			if !errors.Is(err, relay.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want %q in it", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error shows a header's value: %v", err)
			}
		})
	}
}

func FuzzValidate(f *testing.F) {
	f.Add("topic", "key", "type", "name", "value")
	f.Add("", "\x00", "a\r\n", "Nats-Msg-Id", "\x7f")
	f.Add(strings.Repeat("ü", 60), strings.Repeat("\xf0\x9f", 60), "", "cOnTeNt-TyPe", "")
	f.Fuzz(func(t *testing.T, topic, key, contentType, name, value string) {
		m := &relay.Message{Topic: topic, Keyed: true, Key: key, ContentType: contentType, Headers: []relay.Header{{Name: name, Value: value}}}
		err := relay.Validate(m)
		if err != nil {
			if !errors.Is(err, relay.ErrInvalid) {
				t.Errorf("error %v does not wrap ErrInvalid", err)
			}
			if text := err.Error(); len(text) > 600 || relay.HasControl(text) || !utf8.ValidString(text) {
				t.Errorf("error cannot be shown: %d bytes, %q", len(text), text)
			}
			return
		}
		for _, s := range []string{topic, key, contentType, name, value} {
			if strings.ContainsAny(s, "\r\n\x00") {
				t.Errorf("%q passed", s)
			}
		}
		if lower := strings.ToLower(name); name == "" || strings.HasPrefix(lower, "nats-") || strings.HasPrefix(lower, "outbox-") || lower == "content-type" {
			t.Errorf("header name %q passed", name)
		}
	})
}
