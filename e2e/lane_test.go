package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/natsserver"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
)

// batched counts what the broker answers to batches.
func (w *world) batched(url string) *atomic.Int64 {
	w.t.Helper()
	conn, err := natsserver.Connect(url)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(conn.Close)
	var n atomic.Int64
	if _, err := conn.Subscribe("_INBOX.*.*.*.*.*.*.$FI", func(*nats.Msg) { n.Add(1) }); err != nil {
		w.t.Fatal(err)
	}
	if err := conn.FlushTimeout(patience); err != nil {
		w.t.Fatal(err)
	}
	return &n
}

func TestOneKeyGoesInBatchesAndKeepsItsOrderWhileRelaysAreKilled(t *testing.T) {
	w := newWorld(t, worldOptions{stream: func(c *jetstream.StreamConfig) { c.AllowBatchPublish = true }})
	batched := w.batched(w.broker.URL())
	load := w.load(oracle.Load{Keys: 1, Rate: 300})
	const kills = 2
	for range kills {
		relay := w.relay()
		before := batched.Load()
		w.await("batches", func() bool { return batched.Load() > before+20 })
		relay.Kill()
	}
	relay := w.relay()
	w.stop(load, 100)
	w.awaitDrained()
	relay.Terminate()
	w.verdict(oracle.Limits{Redeliveries: kills * window})
}

func TestStreamLeaderStepsDownUnderOneHotKey(t *testing.T) {
	w := newClusterWorld(t)
	w.stepDowns(3)
}

// clusterWorld is a world whose broker is a cluster of three servers.
type clusterWorld struct {
	*world
	cluster *natsserver.Cluster
	conn    *nats.Conn
}

func newClusterWorld(t testing.TB) *clusterWorld {
	t.Helper()
	w := &clusterWorld{world: newWorld(t, worldOptions{rabbitmq: true})}
	var err error
	if w.cluster, err = natsserver.StartCluster(t.Context(), 3, natsserver.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.cluster.Close(); err != nil {
			t.Error(err)
		}
	})
	if w.conn, err = natsserver.Connect(w.cluster.URLs(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.conn.Close)
	if w.js, err = jetstream.New(w.conn); err != nil {
		t.Fatal(err)
	}
	w.await("a stream", func() bool {
		_, err := w.js.CreateStream(t.Context(), jetstream.StreamConfig{
			Name: streamName, Subjects: []string{"oracle.>"}, Replicas: 3, AllowBatchPublish: true,
		})
		return err == nil
	})
	w.env["OUTBOX_SINK_URL"] = w.cluster.URLs()
	w.storedNow = w.inStream
	w.collect = func(ctx context.Context) ([]oracle.Delivery, error) {
		return oracle.Collect(ctx, w.cluster.Servers[0].URL(), streamName)
	}
	return w
}

// stepDowns has the stream's leader step down so many times while rows of one key are
// published in batches. Nothing is lost, no order is broken, and the stream's memory of
// ids drops every copy.
func (w *clusterWorld) stepDowns(n int) {
	w.t.Helper()
	batched := w.batched(w.cluster.URLs())
	relay := w.relayOf(relaybin.Tested, "OUTBOX_MAX_ATTEMPTS", "1000")
	load := w.load(oracle.Load{Keys: 1, Rate: 500})
	for range n {
		before := batched.Load()
		w.await("batches", func() bool { return batched.Load() > before+20 })
		w.stepDown()
	}
	w.stop(load, 100)
	w.awaitDrained()
	relay.Terminate()
	w.verdict(oracle.Limits{})
}

// stepDown returns when another server leads the stream.
func (w *clusterWorld) stepDown() {
	w.t.Helper()
	var before string
	w.await("a leader that steps down", func() bool {
		var err error
		if before, err = w.leader(); err != nil {
			return false
		}
		return w.askToStepDown()
	})
	// The others may elect the one that has stepped down. Then it steps down again.
	again := time.Now().Add(election)
	w.await("another leader", func() bool {
		now, err := w.leader()
		if err == nil && now == before && time.Now().After(again) {
			again = time.Now().Add(election)
			_ = w.askToStepDown()
		}
		return err == nil && now != before
	})
}

// election is more than it takes to elect a leader.
const election = 5 * time.Second

// askToStepDown returns whether the stream's leader has said that it steps down.
func (w *clusterWorld) askToStepDown() bool {
	answer, err := w.conn.Request("$JS.API.STREAM.LEADER.STEPDOWN."+streamName, nil, 5*time.Second)
	if err != nil {
		return false
	}
	var done struct{ Success bool }
	return json.Unmarshal(answer.Data, &done) == nil && done.Success
}

var errNobodyLeads = errors.New("nobody leads the stream")

func (w *clusterWorld) leader() (string, error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Second)
	defer cancel()
	stream, err := w.js.Stream(ctx, streamName)
	if err != nil {
		return "", fmt.Errorf("look up the leader: %w", err)
	}
	if leader := stream.CachedInfo().Cluster.Leader; leader != "" {
		return leader, nil
	}
	return "", errNobodyLeads
}
