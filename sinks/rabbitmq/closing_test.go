package rabbitmq

import (
	"testing"

	"github.com/outbox-relay/outbox-relay/relay"
)

// The broker's reason quotes the topic, which comes from a row. No topic, whatever its
// text, may be read as a part of the reason.
func TestReasonsAreReadFromTheirBeginning(t *testing.T) {
	t.Parallel()
	const where = " in vhost '/' refused for user 'u'"
	for name, c := range map[string]struct {
		reason, topic string
		all, one      bool
	}{
		"internal":                    {"ACCESS_REFUSED - cannot publish to internal exchange 'own' in vhost '/'", "a", true, false},
		"topic of an internal":        {"ACCESS_REFUSED - access to topic 'cannot publish to internal exchange 'x'' in exchange 'own'" + where, "cannot publish to internal exchange 'x'", false, true},
		"exchange":                    {"ACCESS_REFUSED - access to exchange 'own'" + where, "a", true, false},
		"exchange, with permission":   {"ACCESS_REFUSED - write access to exchange 'own'" + where, "a", true, false},
		"topic":                       {"ACCESS_REFUSED - access to topic 'a' in exchange 'own'" + where, "a", false, true},
		"topic, with permission":      {"ACCESS_REFUSED - write access to topic 'a' in exchange 'own'" + where, "a", false, true},
		"another topic":               {"ACCESS_REFUSED - access to topic 'ab' in exchange 'own'" + where, "a", false, false},
		"topic names an exchange":     {"ACCESS_REFUSED - access to topic 'access to exchange x' in exchange 'own'" + where, "access to exchange x", false, true},
		"topic quotes an exchange":    {"ACCESS_REFUSED - access to topic 'access to exchange 'x'' in exchange 'own'" + where, "access to exchange 'x'", false, true},
		"topic ends itself":           {"ACCESS_REFUSED - access to topic 'a' in exchange b' in exchange 'own'" + where, "a' in exchange b", false, true},
		"topic ends itself, innocent": {"ACCESS_REFUSED - access to topic 'a' in exchange b' in exchange 'own'" + where, "a", false, false},
		"topic within a topic":        {"ACCESS_REFUSED - access to topic 'access to topic 'a' in exchange 'own'' in exchange 'own'" + where, "a", false, false},
		"cut":                         {"ACCESS_REFUSED - access to topic 'a", "a", false, false},
	} {
		if got := refusesExchange(c.reason) || isInternal(c.reason); got != c.all {
			t.Errorf("%s: about the exchange: %t", name, got)
		}
		if got := refusesTopic(c.reason, c.topic, "own"); got != c.one {
			t.Errorf("%s: about the topic: %t", name, got)
		}
	}
}

// A topic may contain the end of a reason. It is not taken for the shorter topic with
// which it begins, and which may be in flight too.
func TestReasonIsAboutTheLongestTopicItNames(t *testing.T) {
	t.Parallel()
	const (
		short = "a"
		long  = "a' in exchange 'own' in vhost '/' refused for user 'u'"
	)
	reason := func(topic string) string {
		return "ACCESS_REFUSED - access to topic '" + topic + "' in exchange 'own' in vhost '/' refused for user 'u'"
	}
	var left []entry
	for _, topic := range []string{"b", short, long, short} {
		left = append(left, entry{item: item{message: &relay.Message{Topic: topic}}})
	}
	for _, topic := range []string{short, long} {
		if got, found := refusedTopic(reason(topic), "own", left); !found || got != topic {
			t.Errorf("refusal of %q is taken for one of %q (%t)", topic, got, found)
		}
	}
	if got, found := refusedTopic(reason("c"), "own", left); found {
		t.Errorf("refusal of a topic that is not in flight is taken for one of %q", got)
	}
}
