package e2e_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
	"github.com/outbox-relay/outbox-relay/relay/admin"
)

// told is how somebody on call learns of a stall: the status says it, metrics show it,
// and the log has a line of it. docs/observability.md has the list.
type told struct {
	status func(admin.Report) bool
	above  []string // metrics that are above 0, as name{label="value"}
	zero   []string // metrics that are 0
	log    []string // parts of one line
}

// awaitTold waits until all of it is told.
func (w *world) awaitTold(relay *relaybin.Process, want told) {
	w.t.Helper()
	began := time.Now()
	var missing []string
	defer func() {
		if w.t.Failed() {
			w.t.Logf("not told: %q", missing)
		}
	}()
	w.await("the stall is told", func() bool {
		missing = w.untold(relay, want)
		return len(missing) == 0
	})
	w.t.Logf("told after %v", time.Since(began).Round(100*time.Millisecond))
}

// untold is what is not told yet.
func (w *world) untold(relay *relaybin.Process, want told) (missing []string) {
	w.t.Helper()
	if s := w.status(relay); !want.status(s) {
		missing = append(missing, fmt.Sprintf("/status: %+v", s))
	}
	served := scrape(w.t, relay)
	for _, metric := range want.above {
		if value := w.metric(served, metric); value <= 0 {
			missing = append(missing, fmt.Sprintf("%s is %v", metric, value))
		}
	}
	for _, metric := range want.zero {
		if value := w.metric(served, metric); value != 0 {
			missing = append(missing, fmt.Sprintf("%s is %v", metric, value))
		}
	}
	if relay.CountLog(want.log...) == 0 {
		missing = append(missing, fmt.Sprintf("no line of the log has %q", want.log))
	}
	return missing
}

// awaitCalm waits until the status tells nothing of it any more, and no gauge does.
func (w *world) awaitCalm(relay *relaybin.Process, was told) {
	w.t.Helper()
	w.await("nothing is told any more", func() bool {
		if was.status(w.status(relay)) {
			return false
		}
		served := scrape(w.t, relay)
		return !slices.ContainsFunc(was.above, func(metric string) bool { return w.metric(served, metric) > 0 })
	})
}

// metric is the value of the one series of that name that has the label, if any is asked
// for.
func (w *world) metric(served, metric string) float64 {
	w.t.Helper()
	name, label, _ := strings.Cut(strings.TrimSuffix(metric, "}"), "{")
	for line := range strings.Lines(served) {
		labels, found := strings.CutPrefix(strings.TrimSpace(line), name+"{")
		if !found || !strings.Contains(labels, label) {
			continue
		}
		value, err := strconv.ParseFloat(labels[strings.LastIndex(labels, " ")+1:], 64)
		if err != nil {
			w.t.Fatalf("%s: %v", line, err)
		}
		return value
	}
	w.t.Fatalf("no relay serves %s", metric)
	return 0
}
