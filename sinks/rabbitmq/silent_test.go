package rabbitmq

import (
	"fmt"
	"testing"
	"time"
)

func TestSilentTopicsAreForgottenInTimeAndBounded(t *testing.T) {
	t.Parallel()
	s, now := newSilent(), time.Now()
	s.add("a", now, now.Add(2*time.Second))
	for topic, want := range map[string]bool{"a": true, "b": false} {
		if got := s.has(topic, now.Add(time.Second)); got != want {
			t.Errorf("%s is silent: %t", topic, got)
		}
	}
	now = now.Add(2 * time.Second)
	if s.has("a", now) {
		t.Error("a topic is silent for longer than was said")
	}
	s.add("b", now, now.Add(time.Second))
	if len(s.until) != 1 {
		t.Errorf("%d topics are kept, of which one is silent", len(s.until))
	}
	for i := range 3 * mostSilent {
		s.add(fmt.Sprint(i), now, now.Add(time.Second))
		if len(s.until) > mostSilent {
			t.Fatalf("%d topics are kept", len(s.until))
		}
	}
}
