package rabbitmq_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
	"github.com/outbox-relay/outbox-relay/sinks/rabbitmq"
)

func examine(t *testing.T, o rabbitmq.Options, topics ...string) []relay.Check {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return rabbitmq.Examine(ctx, o, topics)
}

// worst returns the check with the highest severity.
func worst(checks []relay.Check) relay.Check {
	w := checks[0]
	for _, c := range checks {
		if c.Severity > w.Severity {
			w = c
		}
	}
	return w
}

// run runs a fix as a person would, on the package's node.
func run(t *testing.T, command string) {
	t.Helper()
	if _, err := server(t).Shell(context.WithoutCancel(t.Context()), command, "PASSWORD=secret"); err != nil {
		t.Fatal(err)
	}
}

func TestDoctorsFixesFix(t *testing.T) {
	t.Parallel()
	user, vhost, exchange, queue := "examined", "examined-host", "examined-exchange", "examined-queue"
	t.Cleanup(func() {
		ctl(t, "delete_user", user)
		ctl(t, "delete_vhost", vhost)
	})
	url := strings.TrimSuffix(server(t).URLAs(user, "secret"), "/") + "/" + vhost
	o := rabbitmq.Options{SinkOptions: link.SinkOptions{URLs: url}, Exchange: exchange}
	// One fault is behind the other: user, virtual host, exchange.
	for _, want := range []string{"does not take user", vhost, exchange} {
		w := worst(examine(t, o, "orders"))
		if w.Severity != relay.Fault || !strings.Contains(w.Found, want) || w.Fix == "" {
			t.Fatalf("found %s: %s (fix: %s), want a fault about %q", w.Severity, w.Found, w.Fix, want)
		}
		run(t, w.Fix)
	}
	if w := worst(examine(t, o, "orders")); w.Severity != relay.Fine {
		t.Errorf("after the fixes: %s: %s", w.Severity, w.Found)
	}
	s := open(t, o)
	reach(t, s) // what the doctor calls fine is fine
	o.Exchange = ""
	w := worst(examine(t, o, queue))
	if w.Severity != relay.Fault || !strings.Contains(w.Found, queue) {
		t.Fatalf("found %s: %s", w.Severity, w.Found)
	}
	run(t, w.Fix)
	if w := worst(examine(t, o, queue)); w.Severity != relay.Fine {
		t.Errorf("after the fix: %s: %s", w.Severity, w.Found)
	}
	direct := open(t, o)
	reach(t, direct)
	expect(t, direct, messageTo(queue, 1), relay.Acknowledged, "", "")
}

// Anybody may write a topic. The fix makes a queue of exactly that name, and nothing of
// the name is run: neither by the shell nor by Erlang.
func TestDoctorsFixRunsNothingOfATopic(t *testing.T) {
	t.Parallel()
	o := rabbitmq.Options{SinkOptions: link.SinkOptions{URLs: server(t).URL()}}
	marker := filepath.Join(server(t).Path(), "harmed")
	direct := open(t, o)
	reach(t, direct)
	for _, topic := range []string{
		"x'; touch harmed; echo '", `x">>), os:cmd("touch harmed"), X = (<<"`, `x\">>), os:cmd("touch harmed"), X = (<<"`,
		"$(touch harmed)`touch harmed`", "a\ttouch harmed\x01", "\x1b[2J", "über", `a\`,
	} {
		w := worst(examine(t, o, topic))
		if w.Severity != relay.Fault || strings.ContainsFunc(w.Fix+w.Found, unicode.IsControl) {
			t.Errorf("%q: %s: %q, fix %q", topic, w.Severity, w.Found, w.Fix)
			continue
		}
		run(t, w.Fix)
		if w := worst(examine(t, o, topic)); w.Severity != relay.Fine {
			t.Errorf("%q: after the fix: %s: %s", topic, w.Severity, w.Found)
		}
		if _, err := os.Stat(marker); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("%q: the topic was run (%v)", topic, err)
		}
	}
}

func TestDoctorWithoutABroker(t *testing.T) {
	t.Parallel()
	o := rabbitmq.Options{SinkOptions: link.SinkOptions{URLs: "amqp://u:hunter2@127.0.0.1:1"}, Exchange: "outbox"}
	w := worst(examine(t, o))
	if w.Severity != relay.Fault || !strings.Contains(w.Found, "refused") || w.Fix == "" {
		t.Errorf("found %s: %s (fix: %s)", w.Severity, w.Found, w.Fix)
	}
	o.URLs = "amqp://127.0.0.1:1," + strings.TrimPrefix(server(t).URL(), "amqp://")
	o.Exchange = "amq.topic"
	if w := worst(examine(t, o)); w.Severity != relay.Warning {
		t.Errorf("one of two nodes is away: %s: %s", w.Severity, w.Found)
	}
}

func TestDoctorLeavesNoConnection(t *testing.T) {
	p := newPlace(t, amqp.QueueTypeClassic)
	o := p.options()
	o.Name = "examined-connection"
	for range 10 {
		if w := worst(examine(t, o, "a")); w.Severity != relay.Fine {
			t.Fatalf("%s: %s", w.Severity, w.Found)
		}
	}
	deadline := time.Now().Add(patience)
	for countConnections(t, o.Name) > 0 {
		if time.Now().After(deadline) {
			t.Fatal("the doctor's connections are still there")
		}
	}
}
