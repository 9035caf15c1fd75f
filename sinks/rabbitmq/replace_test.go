package rabbitmq_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/faultproxy"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/transcript"
	"github.com/outbox-relay/outbox-relay/relay"
)

// A queue that never confirms, a message for it now and then, and a steady load
// beside it: the client library keeps an entry for each confirm that comes after
// one that does not, so the channel is replaced, again and again, and nobody else
// notices.
func TestChannelThatIsOwedConfirmsIsReplacedUnderLoad(t *testing.T) {
	t.Parallel()
	p := newPlace(t, amqp.QueueTypeClassic)
	queue := p.queue("good", "good", nil)
	p.bindSilentQueue()
	log := &transcript.Text{}
	o := p.options()
	o.Name, o.Channels, o.Window, o.AckTimeout = "replaced "+p.exchange, 1, 1000, 10*time.Second
	o.Logger = slog.New(slog.NewTextHandler(log, nil))
	s := open(t, o)
	reach(t, s)
	const good, each = 60_000, 1000
	r := newResults(t)
	slots := make(chan struct{}, 500)
	// 3,000 a second at the most, so that half of them come when the first silent one
	// is late: more than may overtake it.
	pace := time.NewTicker(350 * time.Millisecond)
	defer pace.Stop()
	for i := range good {
		if i%each == 0 {
			<-pace.C
			s.Publish(messageTo(silentTopic, good+i/each), r.report)
		}
		slots <- struct{}{}
		s.Publish(messageTo("good", i), func(m *relay.Message, o relay.Outcome) {
			r.report(m, o)
			<-slots
		})
	}
	for i := range good {
		o := r.await(int64(i))
		if o.Class == relay.Postponed { // on a machine with much other work this topic may be late too
			eventually(t, "the topic has room again", func() error {
				if o = await(t, s, messageTo("good", i)); o.Class == relay.Postponed {
					return o.Err
				}
				return nil
			})
		}
		if o.Class != relay.Acknowledged {
			t.Fatalf("message %d is %s %q (%v)", i, o.Class, o.Type, o.Err)
		}
	}
	for i := range good / each {
		if o := r.await(int64(good + i)); o.Class != relay.Postponed { // those that found no room
			check(t, messageTo(silentTopic, i), o, relay.Refused, relay.ErrorTypeTimeout, "")
		}
	}
	if stored := take(t, queue); len(stored) != good {
		t.Errorf("%d messages are stored, want each of %d once", len(stored), good)
	}
	if text := log.String(); strings.Contains(text, "lost") {
		t.Errorf("the connection was lost:\n%s", text)
	}
	// At most what came last is still owed, and no channel is left behind.
	eventually(t, "two channels that owe few confirms", func() error {
		channels := channelsOf(t, o.Name)
		if len(channels) != 2 {
			return fmt.Errorf("%d channels", len(channels))
		}
		for _, unconfirmed := range channels {
			if unconfirmed > good/each/2 {
				return fmt.Errorf("a channel waits for %d confirms", unconfirmed)
			}
		}
		return nil
	})
}

// When half of a window is given up, the other half is enough for the other messages,
// and the channel is replaced.
func TestChannelFullOfLateMessagesIsReplaced(t *testing.T) {
	t.Parallel()
	p := newPlace(t, amqp.QueueTypeClassic)
	queue := p.queue("good", "good", nil)
	p.bindSilentQueue()
	log := &transcript.Text{}
	o := p.options()
	o.Name, o.Channels, o.Window, o.AckTimeout = "full "+p.exchange, 1, 9, 3*time.Second
	o.Logger = slog.New(slog.NewTextHandler(log, nil))
	s := open(t, o)
	reach(t, s)
	const rounds, silent = 2, 10
	r := newResults(t)
	for i := range rounds {
		for j := range silent {
			s.Publish(messageTo(silentTopic, 1+i*silent+j), r.report)
		}
		expect(t, s, messageTo("good", 100_000+i), relay.Acknowledged, "", "")
	}
	for i := range rounds * silent {
		if o := r.await(int64(1 + i)); o.Class != relay.Postponed { // those that waited for room
			check(t, messageTo(silentTopic, i), o, relay.Refused, relay.ErrorTypeTimeout, "")
		}
	}
	if stored := take(t, queue); len(stored) != rounds {
		t.Errorf("%d messages are stored, want each of %d once", len(stored), rounds)
	}
	if text := log.String(); strings.Contains(text, "lost") {
		t.Errorf("the connection was lost:\n%s", text)
	}
	eventually(t, "two channels", func() error {
		if n := len(channelsOf(t, o.Name)); n != 2 {
			return errors.New(strconv.Itoa(n))
		}
		return nil
	})
}

// The broker closes a channel, takes no further request of its connection and
// sends heartbeats: nothing but a time limit ends the wait for the next channel.
func TestConnectionThatOpensNoChannelIsGivenUp(t *testing.T) {
	t.Parallel()
	p := newPlace(t, amqp.QueueTypeClassic)
	p.queue("all", "#", nil)
	proxy, err := faultproxy.Start(t.Context(), server(t).Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { proxy.Close() })
	log := &transcript.Text{}
	o := p.options()
	o.URLs, o.Channels, o.Logger = "amqp://"+proxy.Addr(), 1, slog.New(slog.NewTextHandler(log, nil))
	s := open(t, o)
	reach(t, s)
	channelOpen := []byte{0, 0, 0, 5, 0, 20, 0, 10, 0, 0xCE} // size, class, method, reserved, end
	proxy.StallOn(channelOpen)
	if err := p.ch.ExchangeDelete(p.exchange, false, false); err != nil {
		t.Fatal(err)
	}
	expect(t, s, messageTo("a", 1), relay.Unavailable, relay.ErrorTypeNotReady, "does not exist")
	p.declareExchange()
	eventually(t, "the connection is given up", func() error {
		if !strings.Contains(log.String(), "asked to open a channel") {
			return errors.New("not yet")
		}
		return nil
	})
	proxy.StallOn(nil)
	if err := p.ch.QueueBind(p.exchange+"-all", "#", p.exchange, false, nil); err != nil {
		t.Fatal(err)
	}
	reach(t, s)
	expect(t, s, messageTo("a", 2), relay.Acknowledged, "", "")
}

// channelsOf are the channels of the connection with this name, by the confirms
// that they owe.
func channelsOf(t testing.TB, name string) (unconfirmed []int) {
	t.Helper()
	list := ctl(t, "eval", `[N || `+namedChannels(name, "_")+`,
		{messages_unconfirmed, N} <- rabbit_channel:info(P, [messages_unconfirmed])].`)
	if err := json.Unmarshal([]byte(list), &unconfirmed); err != nil {
		t.Fatalf("read %q: %v", list, err)
	}
	return unconfirmed
}
