package rabbitmq_test

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/faultproxy"
	"github.com/outbox-relay/outbox-relay/relay"
)

// A message that was refused for lateness is sent again, on the same channel, and
// is returned. The late confirm of the first sending, a negative one, arrives with that
// of the second. It must not use up the return, or a message that no queue has would
// count as acknowledged.
func TestLateConfirmDoesNotSwallowTheReturnOfTheNextSending(t *testing.T) {
	t.Parallel()
	p := newPlace(t, amqp.QueueTypeClassic)
	good, slow := p.queue("good", "good", nil), p.queue("slow", "moved", nil)
	process := `{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"` + slow + `">>)), P = amqqueue:get_pid(Q), `
	ctl(t, "eval", process+"sys:suspend(P).")
	proxy, err := faultproxy.Start(t.Context(), server(t).Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { proxy.Close() })
	o := p.options()
	o.URLs, o.Name, o.Channels, o.AckTimeout = "amqp://"+proxy.Addr(), "late "+p.exchange, 1, 18*time.Second
	s := open(t, o)
	reach(t, s)
	r := newResults(t)
	s.Publish(messageTo("moved", 1), r.report)
	s.Publish(messageTo("good", 2), r.report) // by which the broker is seen to work
	check(t, messageTo("moved", 1), r.await(1), relay.Refused, relay.ErrorTypeTimeout, "")

	// The broker returns the second sending, then refuses the first one, and the sink
	// learns both at the same moment.
	if err := p.ch.QueueUnbind(slow, "moved", p.exchange, nil); err != nil {
		t.Fatal(err)
	}
	proxy.StallReplies(true)
	again := newResults(t)
	s.Publish(messageTo("moved", 1), again.report)
	s.Publish(messageTo("good", 3), r.report)
	eventually(t, "the broker has dealt with the second sending, and one behind it", func() error {
		q, err := p.ch.QueueDeclarePassive(good, true, false, false, false, nil)
		if err == nil && q.Messages < 2 {
			return fmt.Errorf("%d messages", q.Messages)
		}
		return err
	})
	// The broker owes the confirm of the first sending alone, and then none. All in one run:
	// a run takes seconds, and the sink gives up a connection that is silent for long.
	ctl(t, "eval", `Await = fun Await(Want, 0) -> error({still_not_owed, Want});
			Await(Want, Left) ->
				case `+owedNow(o.Name, "{number, _}")+` of
					Want -> ok;
					_ -> timer:sleep(20), Await(Want, Left - 1)
				end
		end, Await(1, 3000), `+process+`exit(P, kill), Await(0, 3000).`)
	proxy.StallReplies(false)
	check(t, messageTo("moved", 1), again.await(1), relay.Refused, relay.ErrorTypeUnroutable, "")
	for _, queue := range []string{slow, good} {
		for _, d := range take(t, queue) {
			if d.RoutingKey == "moved" {
				t.Errorf("%s has the message after all: nothing was tested", queue)
			}
		}
	}
}

// A channel stands still within the broker, and the broker answers on other channels.
// The messages that were written to the channel were not taken. So they are not late,
// and no attempt is counted.
func TestChannelThatStandsStillRefusesNothing(t *testing.T) {
	p := newPlace(t, amqp.QueueTypeClassic)
	p.queue("good", "good", nil)
	o := p.options()
	o.Name, o.Channels, o.AckTimeout = "still "+p.exchange, 1, 2*time.Second
	s := open(t, o)
	reach(t, s)
	expect(t, s, messageTo("good", 1), relay.Acknowledged, "", "")
	resume := suspendChannel(t, o.Name)
	expect(t, s, messageTo("good", 2), relay.Unknown, relay.ErrorTypeUnresponsive, "")
	reach(t, s)
	expect(t, s, messageTo("good", 2), relay.Acknowledged, "", "")
	resume()
}

// suspendChannel stops the first channel of the connection with this name within
// the broker, until resume.
func suspendChannel(t *testing.T, name string) (resume func()) {
	t.Helper()
	process := ctl(t, "eval", `[P] = [P || `+namedChannels(name, "{number, 1}")+`], pid_to_list(P).`)
	ctl(t, "eval", `sys:suspend(list_to_pid(`+process+`)).`)
	resume = sync.OnceFunc(func() { ctl(t, "eval", `catch sys:resume(list_to_pid(`+process+`)).`) }) // it may have ended
	t.Cleanup(resume)
	return resume
}

// owed is the number of confirms that the broker owes on the connection with this
// name.
func owed(t *testing.T, name string) string { return owedBy(t, name, "{number, _}") }

// owedBy does what owed does, for the channels that match.
func owedBy(t *testing.T, name, channel string) string {
	t.Helper()
	return ctl(t, "eval", owedNow(name, channel)+".")
}

// owedNow is an Erlang expression for that.
func owedNow(name, channel string) string {
	return `lists:sum([N || ` + namedChannels(name, channel) + `,
		{messages_unconfirmed, N} <- rabbit_channel:info(P, [messages_unconfirmed])])`
}

// namedChannels is an Erlang generator of P, the channels that match of the connection
// with this name. It looks into the node's tables. rabbit_channel:info_all asks every
// channel of the node, and whoever asks a channel that another test holds up waits
// for that test.
func namedChannels(name, channel string) string {
	return `{P, Infos} <- ets:tab2list(channel_created),
		` + channel + ` <- [lists:keyfind(number, 1, Infos)], {connection, C} <- [lists:keyfind(connection, 1, Infos)],
		{_, Of} <- ets:lookup(connection_created, C), ` + isNamed(name)
}

// namedConnections is an Erlang generator of C, the processes that read the connections
// with this name. It asks none of them, as [namedChannels].
func namedConnections(name string) string {
	return `{C, Of} <- ets:tab2list(connection_created), ` + isNamed(name)
}

// isNamed goes on where Of is what the node knows of a connection with this name.
func isNamed(name string) string {
	return `{client_properties, Ps} <- [lists:keyfind(client_properties, 1, Of)], lists:keymember(<<"` + name + `">>, 3, Ps)`
}

// countConnections is how many connections with this name the broker has.
func countConnections(t *testing.T, name string) int {
	t.Helper()
	text := strings.TrimSpace(ctl(t, "eval", `length([C || `+namedConnections(name)+`]).`))
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return n
}
