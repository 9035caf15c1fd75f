package rabbitmq_test

import (
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/faultproxy"
)

// Each attempt tries all nodes, wherever in the list it begins.
func TestOneNodeOfManyIsEnough(t *testing.T) {
	t.Parallel()
	p := newPlace(t, amqp.QueueTypeClassic)
	o := p.options()
	o.URLs = "amqp://" + strings.Repeat("127.0.0.1:1,", 99) + strings.TrimPrefix(o.URLs, "amqp://")
	s := open(t, o)
	if err := probe(t, s); err != nil {
		t.Errorf("the first attempt ends with %v", err)
	}
}

// A node that takes connections and ends them does not keep the relay from the
// others.
func TestNodesTakeTurns(t *testing.T) {
	t.Parallel()
	p := newPlace(t, amqp.QueueTypeClassic)
	var nodes [2]*faultproxy.Proxy
	var urls []string
	for i := range nodes {
		proxy, err := faultproxy.Start(t.Context(), server(t).Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { proxy.Close() })
		nodes[i] = proxy
		urls = append(urls, "amqp://"+proxy.Addr())
	}
	o := p.options()
	o.URLs = strings.Join(urls, ",")
	s := open(t, o)
	reach(t, s)
	const rounds = 4
	current := nodes[0]
	if current.Accepted() == 0 {
		current = nodes[1]
	}
	for range rounds - 1 {
		before := current.Accepted()
		other := nodes[0]
		if current == other {
			other = nodes[1]
		}
		had := other.Accepted()
		current.Cut()
		reach(t, s)
		if current.Accepted() == before && other.Accepted() == had+1 {
			current = other
			continue
		}
		t.Fatalf("the node that was cut has %d connections more, the other one %d", current.Accepted()-before, other.Accepted()-had)
	}
	for i, n := range nodes {
		if got := n.Accepted(); got != rounds/2 {
			t.Errorf("node %d had %d of %d connections", i, got, rounds)
		}
	}
}
