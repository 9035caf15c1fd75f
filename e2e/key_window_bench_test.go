package e2e_test

import (
	"testing"
)

// BenchmarkRabbitMQOneKey prints how fast a backlog is drained whose rows all have one key,
// with one row on its way at a time and with many, beside the broker alone before
// and after each. The relay writes one key to one channel, and so does the plain publisher.
func BenchmarkRabbitMQOneKey(b *testing.B) {
	w := newRabbitBenchWorld(b)
	for b.Loop() {
		beside := w.besideBroker(b, benchRows/3)
		ratios := make(map[string][]float64)
		for range ratioRounds {
			for _, window := range []string{"1", "64", "1024"} {
				rows := benchRows / 3
				if window == "1" {
					rows = benchRows / 30 // one row each round trip
				}
				_, ratio := beside.ratio("RabbitMQ, one key, window "+window, func() float64 {
					w.exec(`TRUNCATE {outbox}`)
					w.fillKeys(rows, 1, benchPayload)
					w.env["OUTBOX_KEY_WINDOW"] = window
					defer w.purgeQueue()
					return w.drainRows(rows)
				})
				ratios[window] = append(ratios[window], ratio)
			}
		}
		for window, all := range ratios {
			figure(b, "ratio_rabbitmq_one_key_window_"+window, median(all))
		}
	}
}
