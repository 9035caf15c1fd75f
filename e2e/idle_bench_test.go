package e2e_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
)

// BenchmarkIdle prints what a relay costs that tails and has nothing to do, and what it costs
// while somebody has its page open: medians of rounds in turn.
func BenchmarkIdle(b *testing.B) {
	w := newBenchWorld(b)
	for b.Loop() {
		relay := w.relayOf(relaybin.Released)
		relay.AwaitLog(`"tailing"`)
		w.letPass(10 * time.Second) // until the statistics of the beginning are in
		figures := make(map[string][]float64)
		for range benchRounds {
			queries, cpu := w.idles(relay, func() {})
			withPage, cpuWithPage := w.idles(relay, w.pageOf(relay))
			for name, value := range map[string]float64{
				"idle_queries_per_s": queries, "idle_cpu_percent": cpu,
				"idle_page_queries_per_s": withPage, "idle_page_cpu_percent": cpuWithPage,
				"idle_page_queries_times": withPage / queries, "idle_page_cpu_times": cpuWithPage / cpu,
			} {
				figures[name] = append(figures[name], value)
			}
		}
		figureMedians(b, figures)
		relay.Terminate()
	}
}

// idleTime is how long each is looked at.
const idleTime = 30 * time.Second

// pageEvery is how often the page asks (page.js).
const pageEvery = 3 * time.Second

// pageOf asks what an open page does at one time: the snapshot, with the ETag of the last.
func (w *world) pageOf(relay *relaybin.Process) func() {
	etag := ""
	return func() {
		w.t.Helper()
		r, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, "http://"+relay.HTTPAddr()+"/api/snapshot", nil)
		if err != nil {
			w.t.Fatal(err)
		}
		r.Header.Set("If-None-Match", etag)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			w.t.Fatal(err)
		}
		defer answer.Body.Close()
		if _, err := io.Copy(io.Discard, answer.Body); err != nil {
			w.t.Fatal(err)
		}
		etag = answer.Header.Get("ETag")
	}
}

// idles is how many queries a second come, and how much of a core is used in percent, while
// somebody asks.
func (w *world) idles(relay *relaybin.Process, ask func()) (queries, percent float64) {
	w.t.Helper()
	before, cpu, began := w.transactions(), relay.CPUTime(), time.Now()
	for time.Since(began) < idleTime {
		ask()
		w.letPass(pageEvery)
	}
	took := time.Since(began).Seconds()
	return float64(w.transactions()-before) / took, 100 * (relay.CPUTime() - cpu).Seconds() / took
}

// transactions counts those of the database so far; the server is up to a few
// seconds late with it.
func (w *world) transactions() int {
	w.t.Helper()
	return w.count(`SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()`)
}
