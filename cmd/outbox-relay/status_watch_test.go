package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// watched runs "status --watch" on a pipe, and returns the lines that it prints until it
// has printed so many and is interrupted, and its exit status.
func watched(t *testing.T, env []string, lines int, args ...string) (printed []string, status int) {
	t.Helper()
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	out, in := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- dispatch(ctx, env, append([]string{"status", "--watch", "--interval", "100ms"}, args...), in, io.Discard)
		in.Close()
	}()
	for scanner := bufio.NewScanner(out); scanner.Scan(); {
		printed = append(printed, scanner.Text())
		if len(printed) == lines {
			interrupt()
		}
	}
	return printed, <-ended
}

// counting is what is said of the table by a relay that counts it.
var counting = relay.Census{TableStats: relay.TableStats{Due: relay.Count{Rows: 4711, Estimated: true}, Dead: relay.Count{Rows: 3}, OldestAge: 90 * time.Second}, At: time.Now()}

func TestWatchPrintsALineEachIntervalOnAPipe(t *testing.T) {
	t.Parallel()
	up := sayingOf(t, relay.Status{
		Mode: relay.Tailing, Turned: time.Now(), SinkStatus: relay.SinkStatus{SinkDown: "connection refused\x1b[2J", SinkDownSince: time.Now()},
	}, counting)
	// The relay has counted, so nobody asks the database, which is not there.
	env := []string{up, "OUTBOX_DATABASE_URL=postgres://relay:s3cret@127.0.0.1:1/x"}
	lines, status := watched(t, env, 3)
	if status != 0 || len(lines) < 3 {
		t.Fatalf("status %d, %q", status, lines)
	}
	for _, line := range lines {
		for _, part := range []string{"  tailing, 0.0 a second  ", "pending ~4711, oldest 1m30s, retrying 0, dead 3", "the broker takes no messages for "} {
			if !strings.Contains(line, part) || strings.ContainsAny(line, "\x1b") {
				t.Errorf("no %q in %q", part, line)
			}
		}
	}
	lines, status = watched(t, env, 2, "--json")
	for _, line := range lines {
		var o overview
		if err := json.Unmarshal([]byte(line), &o); err != nil || o.Database.Rows == nil || o.Database.Rows.Pending.Rows != 4711 || status != 0 {
			t.Errorf("status %d, %v: %s", status, err, line)
		}
	}
}

// Without a relay it counts by itself, and not each time.
func TestWatchWithoutARelayCountsNowAndThen(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.sql(`INSERT INTO outbox (topic, payload) VALUES ('due', '1')`)
	lines, status := watched(t, p.environ(nowhere(t)), 4, "--json")
	var counted []time.Time
	for _, line := range lines {
		var o overview
		if err := json.Unmarshal([]byte(line), &o); err != nil || o.Relay.Reached || o.Database.Rows == nil || o.Database.Rows.Pending.Rows != 1 {
			t.Fatalf("%v: %s", err, line)
		}
		counted = append(counted, o.Database.Rows.CountedAt)
	}
	if status != 0 || len(counted) < 4 || !counted[0].Equal(counted[1]) {
		t.Errorf("status %d, counted at %v", status, counted)
	}
}
