package relay_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay"
)

// recorder is a sink that notes what it is handed, by which way.
type recorder struct {
	relay.Sink
	handed []string
}

func (r *recorder) Publish(m *relay.Message, _ relay.Report) { r.handed = append(r.handed, m.Topic) }

func (r *recorder) Lane(*relay.Message) relay.Lane { return relay.Lane{Number: 7} }

func (r *recorder) PublishIn(_ relay.Lane, m *relay.Message, _ relay.Report) {
	r.handed = append(r.handed, "lane "+m.Topic)
}

func (r *recorder) Flush() { r.handed = append(r.handed, "flush") }

func (r *recorder) Paused() error { return errPaused }

var errPaused = errors.New("blocked")

func TestTopicsThatAreNotAllowedGoNoFurther(t *testing.T) {
	inner := &recorder{}
	sink := relay.Allow(inner, "orders.*").(relay.Laned)
	var refused []relay.Outcome
	report := func(_ *relay.Message, o relay.Outcome) { refused = append(refused, o) }
	good, bad := &relay.Message{Topic: "orders.created"}, &relay.Message{Topic: "salaries"}

	if l := sink.Lane(good); l.Number != 7 {
		t.Errorf("the lane of an allowed topic is %+v", l)
	}
	if l := sink.Lane(bad); l != (relay.Lane{}) {
		t.Errorf("a topic that is not allowed has the lane %+v", l)
	}
	sink.Publish(good, report)
	sink.Publish(bad, report)
	sink.PublishIn(relay.Lane{Number: 7}, good, report)
	sink.PublishIn(relay.Lane{Number: 7}, bad, report)
	sink.Flush()
	if got, want := strings.Join(inner.handed, ","), "orders.created,lane orders.created,flush"; got != want {
		t.Errorf("the sink was handed %q, want %q", got, want)
	}
	if len(refused) != 2 {
		t.Fatalf("%d messages were refused, want 2", len(refused))
	}
	for _, o := range refused {
		if o.Class != relay.Refused || o.Type != relay.ErrorTypeForbidden || !strings.Contains(o.Err.Error(), "salaries") {
			t.Errorf("outcome is %s %q (%v)", o.Class, o.Type, o.Err)
		}
	}
	if err := sink.(relay.Pausing).Paused(); !errors.Is(err, errPaused) {
		t.Errorf("a sink that is paused says %v", err)
	}
}

func TestNoPatternsLeaveTheSinkAsItIs(t *testing.T) {
	inner := &recorder{}
	if got := relay.Allow(inner, ""); got != relay.Sink(inner) {
		t.Errorf("without patterns the sink is a %T", got)
	}
}
