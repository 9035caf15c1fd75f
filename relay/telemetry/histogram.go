package telemetry

import (
	"slices"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// bounds of the buckets, in seconds. A broker beside the relay answers in less than a
// millisecond, and an outage of five minutes must still be told from one of an hour.
var bounds = [...]float64{
	0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300,
}

// histogram counts durations by bucket. The zero value is empty. Safe for any goroutine; a
// reading beside recordings may be short of some of them in one of its numbers.
type histogram struct {
	counts [len(bounds) + 1]atomic.Uint64
	sum    atomic.Int64 // nanoseconds
}

// record counts a duration. A bucket holds what is no longer than its bound.
func (h *histogram) record(d time.Duration) {
	i, _ := slices.BinarySearch(bounds[:], d.Seconds())
	h.counts[i].Add(1)
	h.sum.Add(int64(d))
}

func (h *histogram) read() metricdata.HistogramDataPoint[float64] {
	point := metricdata.HistogramDataPoint[float64]{Bounds: bounds[:], BucketCounts: make([]uint64, len(h.counts)), Sum: time.Duration(h.sum.Load()).Seconds()}
	for i := range h.counts {
		point.BucketCounts[i] = h.counts[i].Load()
		point.Count += point.BucketCounts[i]
	}
	return point
}
