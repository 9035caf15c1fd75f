package natsjs_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/natsserver"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
	"github.com/outbox-relay/outbox-relay/sinks/natsjs"
	"github.com/outbox-relay/outbox-relay/sinks/sinktest"
)

// startCluster starts three servers with a stream of the topics under good.
func startCluster(t *testing.T, replicas int) (*natsserver.Cluster, *jetstream.StreamInfo) {
	t.Helper()
	c, err := natsserver.StartCluster(t.Context(), 3, natsserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	js, err := jetstream.New(connect(t, c.URLs()))
	if err != nil {
		t.Fatal(err)
	}
	var stream jetstream.Stream
	sinktest.Eventually(t, time.Minute, "a stream", func() error {
		stream, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "GOOD", Subjects: []string{"good.>"}, Replicas: replicas})
		return err
	})
	return c, stream.CachedInfo()
}

// Two of three servers are gone, so the cluster has no leader that answers questions
// about streams. The third one has a stream with one replica, which needs no other.
func TestStreamIsPublishedToWhileNobodyLeadsTheCluster(t *testing.T) {
	t.Parallel()
	c, info := startCluster(t, 1)
	var home *natsserver.Server
	for i, s := range c.Servers {
		if fmt.Sprintf("n%d", i) == info.Cluster.Leader {
			home = s
			continue
		}
		s.Shutdown()
	}
	js, err := jetstream.New(connect(t, home.URL()))
	if err != nil {
		t.Fatal(err)
	}
	sinktest.Eventually(t, time.Minute, "a cluster without a leader", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var api *jetstream.APIError
		if _, err := js.AccountInfo(ctx); !errors.As(err, &api) || api.ErrorCode != 10008 {
			return fmt.Errorf("account info: %w", err)
		}
		return nil
	})
	s := open(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: home.URL(), AckTimeout: 4 * time.Second}})
	if err := probe(t, s); err != nil {
		t.Fatalf("the probe fails, so nothing is published: %v", err)
	}
	expectInTime(t, s, messageTo(goodTopic, 1), relay.Acknowledged, "", "")
	// Only the acknowledgements of other messages show that no stream has a topic.
	refusedBeside(t, s, 2)
	expectInTime(t, s, messageTo(goodTopic, 100), relay.Acknowledged, "", "")

	checks := natsjs.Examine(t.Context(), natsjs.Options{SinkOptions: link.SinkOptions{URLs: home.URL()}}, []string{goodTopic})
	if len(checks) != 2 || checks[0].Severity != relay.Warning || !strings.Contains(checks[0].Found, "cannot be asked") {
		t.Errorf("%+v", checks)
	}
}

// TestLeaderOfAStreamStepsDownUnderLoad publishes as the relay does for keys without
// lanes: each publisher waits for the acknowledgement of one message before it sends
// the next.
func TestLeaderOfAStreamStepsDownUnderLoad(t *testing.T) {
	t.Parallel()
	c, _ := startCluster(t, 3)
	conn := connect(t, c.URLs())
	s := open(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: c.URLs(), Window: 512, AckTimeout: 30 * time.Second}})
	reach(t, s)
	var publish sync.Mutex // Publish is for one goroutine
	ctx, stop := context.WithCancel(t.Context())
	const publishers = 64
	counts := make([]int, publishers)
	var all sync.WaitGroup
	for p := range publishers {
		all.Go(func() {
			reports := make(chan relay.Outcome, 1)
			for i := 0; ctx.Err() == nil; i++ {
				m := messageTo(fmt.Sprintf("good.%d", p), p*1_000_000+i)
				m.Payload = fmt.Append(nil, i)
				publish.Lock()
				s.Publish(m, func(_ *relay.Message, o relay.Outcome) { reports <- o })
				publish.Unlock()
				if o := <-reports; o.Class != relay.Acknowledged {
					t.Errorf("message %d of publisher %d is %s %q (%v)", i, p, o.Class, o.Type, o.Err)
					return
				}
				counts[p] = i + 1
			}
		})
	}
	for range 8 {
		stepDown(t, conn)
	}
	stop()
	all.Wait()
	stored := readCluster(t, conn)
	for p, n := range counts {
		payloads := stored[fmt.Sprintf("good.%d", p)]
		if len(payloads) != n {
			t.Errorf("publisher %d had %d acknowledgements, the stream has %d messages", p, n, len(payloads))
		}
		for i, payload := range payloads {
			if payload != fmt.Sprint(i) {
				t.Errorf("publisher %d: message %s is the %dth", p, payload, i)
				break
			}
		}
	}
}

// readCluster returns the payloads that the stream has, by subject, in order.
func readCluster(t *testing.T, conn *nats.Conn) map[string][]string {
	t.Helper()
	js, err := natsserver.JetStream(conn)
	if err != nil {
		t.Fatal(err)
	}
	stored := make(map[string][]string)
	consumer, err := js.OrderedConsumer(t.Context(), "GOOD", jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	messages, err := consumer.Messages()
	if err != nil {
		t.Fatal(err)
	}
	defer messages.Stop()
	for {
		m, err := messages.Next(jetstream.NextMaxWait(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		stored[m.Subject()] = append(stored[m.Subject()], string(m.Data()))
		if about, err := m.Metadata(); err != nil {
			t.Fatal(err)
		} else if about.NumPending == 0 {
			return stored
		}
	}
}

// stepDown makes another server lead the stream, and returns when it leads. The others may
// elect the one that has stepped down; then it steps down again.
func stepDown(t *testing.T, conn *nats.Conn) {
	t.Helper()
	leader := func() (string, error) {
		js, err := jetstream.New(conn)
		if err != nil {
			return "", err
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		stream, err := js.Stream(ctx, "GOOD")
		if err != nil {
			return "", err
		}
		return stream.CachedInfo().Cluster.Leader, nil
	}
	request := func() error {
		answer, err := conn.Request("$JS.API.STREAM.LEADER.STEPDOWN.GOOD", nil, 5*time.Second)
		if err == nil && strings.Contains(string(answer.Data), `"error"`) {
			err = errors.New(string(answer.Data))
		}
		return err
	}
	var before string
	sinktest.Eventually(t, time.Minute, "a leader that steps down", func() error {
		var err error
		if before, err = leader(); err != nil {
			return err
		}
		return request()
	})
	const election = 5 * time.Second
	again := time.Now().Add(election)
	sinktest.Eventually(t, time.Minute, "another leader", func() error {
		now, err := leader()
		switch {
		case err != nil:
			return err
		case now == "" || now == before && time.Now().Before(again):
			return fmt.Errorf("the leader is %q", now)
		case now == before:
			again = time.Now().Add(election)
			return errors.Join(fmt.Errorf("%q leads again", now), request())
		}
		return nil
	})
}
