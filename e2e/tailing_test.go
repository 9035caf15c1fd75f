package e2e_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
	"github.com/outbox-relay/outbox-relay/relay/admin"
)

// How a test knows that rows come by the tail: a dead one hides behind polling.

// newTailWorld is a world on a cluster of its own: a slot waits for every open
// transaction of its cluster, and the other tests' are nobody's to wait for.
// No survey is made while the log is read, unless a rule asks for it.
func newTailWorld(t testing.TB, o worldOptions) *world {
	t.Helper()
	o.cluster = pgtest.Own(t, map[string]string{"max_prepared_transactions": "20", "max_wal_size": "4GB"})
	w := newWorld(t, o)
	w.env["OUTBOX_RECONCILE_INTERVAL"] = "1h"
	return w
}

// status is what the relay says of itself.
func (w *world) status(p *relaybin.Process) admin.Report {
	w.t.Helper()
	client, err := admin.NewClient(p.HTTPAddr())
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	report, err := client.Status(ctx)
	if err != nil {
		w.t.Fatalf("ask the relay for its status: %v", err)
	}
	return report
}

// tailPatience is how long a tail may take to come back: the pauses between the
// tries at one grow to a minute.
const tailPatience = 2 * time.Minute

// awaitTailing waits until the relay reads the log, and returns since when.
func (w *world) awaitTailing(p *relaybin.Process) time.Time {
	w.t.Helper()
	var last admin.Report
	w.awaitFor(tailPatience, "the relay is tailing", func() bool {
		last = w.status(p)
		return last.Mode == "tailing"
	})
	return last.Since
}

// awaitTailingAgain waits for a tail that began after another.
func (w *world) awaitTailingAgain(p *relaybin.Process, before time.Time) time.Time {
	w.t.Helper()
	since := before
	w.awaitFor(tailPatience, "the relay is tailing again", func() bool {
		s := w.status(p)
		since = s.Since
		return s.Mode == "tailing" && s.Since.After(before)
	})
	return since
}

// awaitPolling waits until the relay polls and gives a reason with all of these
// texts.
func (w *world) awaitPolling(p *relaybin.Process, texts ...string) {
	w.t.Helper()
	var last admin.Report
	defer func() {
		if w.t.Failed() {
			w.t.Logf("the last status: mode %s, reason %q", last.Mode, last.Reason)
		}
	}()
	w.awaitFor(tailPatience, fmt.Sprintf("the relay polls and says %q", texts), func() bool {
		last = w.status(p)
		for _, text := range texts {
			if !strings.Contains(last.Reason, text) {
				return false
			}
		}
		return last.Mode == "polling"
	})
}

// tailing starts a relay and waits until it reads the log; since when is the
// second result.
func (w *world) tailing(variables ...string) (*relaybin.Process, time.Time) {
	w.t.Helper()
	p := w.relay(variables...)
	return p, w.awaitTailing(p)
}

// demandTailed demands that the relay has read the log all the time since then,
// and that the log has told of every row.
func (w *world) demandTailed(p *relaybin.Process, since time.Time) {
	w.t.Helper()
	s := w.status(p)
	if (s.Mode != "tailing" || !s.Since.Equal(since)) && !fellBehind(p) {
		w.t.Errorf("the relay is %s since %v, want tailing since %v; it says %q", s.Mode, s.Since, since, s.Reason)
	}
	w.demandNothingReconciled(p)
}

// fellBehind says whether the relay has left a tail as it should when its servers are too slow
// for what the application writes, as those of a busy machine are.
func fellBehind(p *relaybin.Process) bool {
	return p.CountLog("polling instead", "the log is written faster than the server decodes it")+
		p.CountLog("polling instead", "the broker does not keep up")+
		p.CountLog("polling instead", "the table cannot be read in time beside the log") > 0
}

// demandOnceTailed does work until the relay has read the log all the while, a few
// times at the most: on a busy machine a tail that has much to read falls behind,
// and is left as it should be.
func (w *world) demandOnceTailed(p *relaybin.Process, work func(try int)) {
	w.t.Helper()
	var s admin.Report
	for try := range 4 {
		since := w.awaitTailing(p)
		work(try)
		if s = w.status(p); s.Mode == "tailing" && s.Since.Equal(since) {
			w.demandNothingReconciled(p)
			return
		}
	}
	w.t.Errorf("the relay has left the tail each time; it is %s now and says %q", s.Mode, s.Reason)
}

func (w *world) demandNothingReconciled(p *relaybin.Process) {
	w.t.Helper()
	if s := w.status(p); s.ReconciledTotal > 0 {
		w.t.Errorf("%d rows were found that the log had not told of", s.ReconciledTotal)
	}
}

// walsenders counts the sessions in which relays read the log, or want to.
func (w *world) walsenders() int {
	w.t.Helper()
	return w.count(`SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND backend_type = 'walsender'`, w.role)
}

// slots counts the replication slots of the cluster.
func (w *world) slots() int {
	w.t.Helper()
	return w.count(`SELECT count(*) FROM pg_replication_slots`)
}

// retained is how many bytes of its log the server keeps for slots.
func (w *world) retained() int {
	w.t.Helper()
	return w.count(`SELECT coalesce(max(pg_current_wal_lsn() - restart_lsn), 0)::bigint FROM pg_replication_slots`)
}

// endWalsender ends the session that reads the log, and returns how many there
// were.
func (w *world) endWalsender() int {
	w.t.Helper()
	return w.terminate(`backend_type = 'walsender'`)
}
