package relay_test

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/outbox-relay/outbox-relay/relay"
)

func TestTopicsAllowWhatTheirPatternsMatch(t *testing.T) {
	for _, c := range []struct {
		patterns, topic string
		want            bool
	}{
		{"", "anything", true},
		{"orders.created", "orders.created", true},
		{"orders.created", "orders.created.eu", false},
		{"orders.*", "orders.created", true},
		{"orders.*", "orders.", true},
		{"orders.*", "orders.created.eu", false},
		{"orders.*", "orders", false},
		{"orders.**", "orders.created.eu", true},
		{"orders.**", "ordersX", false},
		{"*.created", "orders.created", true},
		{"*.created", "orders.eu.created", false},
		{"**.created", "orders.eu.created", true},
		{"a.*.b.**.c*d", "a.x.b.y.z.c12d", true},
		{"a.*.b.**.c*d", "a.x.b.y.z.c1.d", false},
		{"billing.*, orders.*", "orders.created", true},
		{"**", "anything at all.", true},
		{"*", "any.thing", false},
		{"orders.?", "orders.x", false},
		{"orders.[a-z]", "orders.[a-z]", true},
	} {
		topics, err := relay.ParseTopics(c.patterns)
		if err != nil {
			t.Errorf("%q: %v", c.patterns, err)
			continue
		}
		if got := topics.Allows(c.topic); got != c.want {
			t.Errorf("%q allows %q: %v, want %v", c.patterns, c.topic, got, c.want)
		}
	}
}

func TestTopicsThatCannotBeMeantAreRefused(t *testing.T) {
	for _, text := range []string{" ", ",", "orders.*,", "a,,b", "orders.***"} {
		if topics, err := relay.ParseTopics(text); err == nil {
			t.Errorf("%q is taken for %q", text, topics)
		}
	}
}

// FuzzTopics compares with a regular expression.
func FuzzTopics(f *testing.F) {
	f.Add("a.*.b.**.c*d", "a.x.b.y.z.c12d")
	f.Add("***", "a")
	f.Add("**a*b", "xaxab")
	f.Fuzz(func(t *testing.T, pattern, topic string) {
		topics, err := relay.ParseTopics(pattern)
		if err != nil || topics == "" || strings.Contains(pattern, ",") || !utf8.ValidString(pattern) || !utf8.ValidString(topic) {
			t.Skip()
		}
		expression := strings.ReplaceAll(regexp.QuoteMeta(string(topics)), `\*\*`, `.*`)
		expression = strings.ReplaceAll(strings.ReplaceAll(expression, `\*`, `[^.]*`), "\n", `\n`)
		model, err := regexp.Compile(`(?s)\A` + expression + `\z`)
		if err != nil {
			t.Skip()
		}
		if got, want := topics.Allows(topic), model.MatchString(topic); got != want {
			t.Errorf("%q allows %q: %v, want %v", pattern, topic, got, want)
		}
	})
}
