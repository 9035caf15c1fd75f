package natsjs_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// mutant is a sink with one fault, and the test of the suite that has to find
// it.
type mutant struct {
	test   string
	mutate func(relay.Sink) relay.Sink
}

var mutants = map[string]mutant{
	"reports twice": {"a_lost_acknowledgement", func(s relay.Sink) relay.Sink {
		return &publishing{s, func(m *relay.Message, report relay.Report) {
			s.Publish(m, func(m *relay.Message, o relay.Outcome) {
				report(m, o)
				if o.Class == relay.Unknown {
					report(m, o)
				}
			})
		}}
	}},
	"acknowledges what it has only sent": {"a_lost_acknowledgement", func(s relay.Sink) relay.Sink {
		return &publishing{s, func(m *relay.Message, report relay.Report) {
			s.Publish(m, func(m *relay.Message, o relay.Outcome) {
				if o.Class == relay.Unknown {
					o = relay.Outcome{Class: relay.Acknowledged}
				}
				report(m, o)
			})
		}}
	}},
	"acknowledges what was never stored": {"a_topic_without_a_place", func(s relay.Sink) relay.Sink {
		return &publishing{s, func(m *relay.Message, report relay.Report) {
			s.Publish(m, func(m *relay.Message, _ relay.Outcome) { report(m, relay.Outcome{Class: relay.Acknowledged}) })
		}}
	}},
	"loses a header": {"what_is_acknowledged_is_stored", func(s relay.Sink) relay.Sink {
		return &publishing{s, func(m *relay.Message, report relay.Report) {
			c := *m
			c.Headers = slices.DeleteFunc(slices.Clone(m.Headers), func(h relay.Header) bool { return h.Name == "empty" })
			s.Publish(&c, func(_ *relay.Message, o relay.Outcome) { report(m, o) })
		}}
	}},
	"trims a key": {"what_breaks_the_rules", func(s relay.Sink) relay.Sink {
		return &publishing{s, func(m *relay.Message, report relay.Report) {
			c := *m
			c.Key = strings.TrimSpace(m.Key)
			s.Publish(&c, func(_ *relay.Message, o relay.Outcome) { report(m, o) })
		}}
	}},
	"forgets that it was a duplicate": {"a_message_id_the_broker_has", func(s relay.Sink) relay.Sink {
		return &publishing{s, func(m *relay.Message, report relay.Report) {
			s.Publish(m, func(m *relay.Message, o relay.Outcome) {
				o.Duplicate = false
				report(m, o)
			})
		}}
	}},
	"holds messages": {"a_message_is_not_held", func(s relay.Sink) relay.Sink {
		var held []*relay.Message
		return &publishing{s, func(m *relay.Message, report relay.Report) {
			held = append(held, m)
			s.Publish(m, report)
		}}
	}},
	"keeps messages for a broker that is down": {"a_stopped_broker", func(s relay.Sink) relay.Sink {
		kept := make(chan *relay.Message, 10000)
		keep := func(m *relay.Message, o relay.Outcome) {
			if o.Class == relay.Unavailable {
				kept <- m
			}
		}
		return &publishing{s, func(m *relay.Message, report relay.Report) {
			for range len(kept) {
				s.Publish(<-kept, keep)
			}
			s.Publish(m, func(m *relay.Message, o relay.Outcome) {
				report(m, o)
				keep(m, o)
			})
		}}
	}},
	"waits for the acknowledgement": {"publishing_a_whole_window", func(s relay.Sink) relay.Sink {
		return &publishing{s, func(m *relay.Message, report relay.Report) {
			done := make(chan struct{})
			s.Publish(m, func(m *relay.Message, o relay.Outcome) {
				report(m, o)
				close(done)
			})
			<-done
		}}
	}},
	"changes the order": {"messages_one_after_the_other", func(s relay.Sink) relay.Sink {
		var mu sync.Mutex
		var first *relay.Message
		return &publishing{s, func(m *relay.Message, report relay.Report) {
			mu.Lock()
			defer mu.Unlock()
			if first == nil {
				first = m
				report(m, relay.Outcome{Class: relay.Acknowledged})
				return
			}
			s.Publish(m, report)
			if first != m {
				late := first
				first = m
				s.Publish(late, func(*relay.Message, relay.Outcome) {})
			}
		}}
	}},
	"says that it works when it does not": {"a_broker_that_was_never_there", func(s relay.Sink) relay.Sink { return &hopeful{s} }},
}

// publishing replaces Publish.
type publishing struct {
	relay.Sink
	publish func(*relay.Message, relay.Report)
}

func (p *publishing) Publish(m *relay.Message, report relay.Report) { p.publish(m, report) }

// hopeful replaces Probe.
type hopeful struct{ relay.Sink }

func (*hopeful) Probe(context.Context) error { return nil }

// mutantVariable names the mutant for a test process of its own: a test that
// has to fail cannot be one of those that have to pass.
const mutantVariable = "SINKTEST_MUTANT"

// mutated returns the sink, or the mutant that this process is to test.
func mutated(s relay.Sink) relay.Sink {
	if name := os.Getenv(mutantVariable); name != "" {
		return mutants[name].mutate(s)
	}
	return s
}

func TestConformanceSuiteFindsBrokenSinks(t *testing.T) {
	if os.Getenv(mutantVariable) != "" {
		t.Skip("this is the process of a mutant")
	}
	for name, m := range mutants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestConformance$/^"+m.test)
			cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s", mutantVariable, name))
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || !strings.Contains(string(out), "--- FAIL: TestConformance/"+m.test) {
				t.Errorf("the suite did not find it: %v\n%s", err, out)
			}
		})
	}
}
