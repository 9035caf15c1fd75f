package e2e_test

import (
	"fmt"
	"testing"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
)

// BenchmarkRabbitMQOneKey prints how fast a backlog is drained whose rows all have one key,
// with one row on its way at a time and with many, beside the broker alone in the same
// round. The relay writes one key to one channel, and so does the plain publisher.
func BenchmarkRabbitMQOneKey(b *testing.B) {
	w := newRabbitWorldOn(b, ownNode(b), quorum, pgtest.Own(b, map[string]string{"max_wal_size": "8GB", "checkpoint_timeout": "1h"}))
	for _, name := range []string{
		"OUTBOX_MAX_IN_FLIGHT", "OUTBOX_POLL_INTERVAL", "OUTBOX_RETRY_MIN", "OUTBOX_RETRY_MAX", "OUTBOX_LOG_LEVEL",
	} {
		delete(w.env, name)
	}
	for b.Loop() {
		ratios := make(map[string][]float64)
		for range benchRounds {
			alone := w.publishPlainly(b)
			w.purgeQueue()
			for _, window := range []string{"1", "64", "1024"} {
				rows := benchRows / 3
				if window == "1" {
					rows = benchRows / 30 // one row each round trip
				}
				w.exec(`TRUNCATE {outbox}`)
				w.fillKeys(rows, 1, benchPayload)
				w.env["OUTBOX_KEY_WINDOW"] = window
				rate := w.drainRows(rows)
				w.purgeQueue()
				ratios[window] = append(ratios[window], rate/alone)
				fmt.Printf("bench: rabbitmq, one key, window %s: broker alone %.0f msgs/s, relay %.0f rows/s\n", window, alone, rate)
			}
		}
		for window, all := range ratios {
			figure(b, "ratio_rabbitmq_one_key_window_"+window, median(all))
		}
	}
}
