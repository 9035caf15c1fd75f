package e2e_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
)

// rowsBehind is how many rows wait behind a head that was refused.
const rowsBehind = 1_000_000

// BenchmarkRefusedHead prints how long rows of other keys take while a million rows of
// one key wait for its head's retry, beside what they take in the same table without
// those. The rounds alternate, and the median of each figure counts.
func BenchmarkRefusedHead(b *testing.B) {
	const rate, rounds, seconds = 500, 3, 35 // longer than from one survey to the next
	w := newBenchWorld(b)
	figures, left := make(map[string][]time.Duration), 0
	for b.Loop() {
		for range rounds {
			for _, behind := range []int{0, rowsBehind} {
				took := w.latenciesOver(b, rate, seconds, func(b *testing.B) (stop func()) {
					w.refuseHeadOf(behind)
					relay := w.relayOf(relaybin.Released)
					relay.AwaitLog(`"tailing"`)
					return func() {
						left += relay.CountLog(`"polling"`) - 1 // besides the beginning
						relay.Terminate()
					}
				})
				for _, p := range []int{50, 90, 99} {
					name := fmt.Sprintf("behind_%d_p%d_ms", behind, p)
					figures[name] = append(figures[name], percentile(took, p))
				}
			}
		}
	}
	figure(b, "behind_modes_left", float64(left))
	for name, all := range figures {
		slices.Sort(all)
		figure(b, name, 1000*percentile(all, 50).Seconds())
	}
}

// refuseHeadOf makes so many rows of one key, whose first waits for its retry.
func (w *world) refuseHeadOf(rows int) {
	w.t.Helper()
	if rows == 0 {
		return
	}
	w.exec(`INSERT INTO {outbox} (topic, key, payload, attempts, available_at) VALUES ('oracle.bulk', 'refused', '1', 1, now() + interval '1 hour')`)
	w.exec(`INSERT INTO {outbox} (topic, key, payload) SELECT 'oracle.bulk', 'refused', '1' FROM generate_series(1, $1)`, rows)
}
