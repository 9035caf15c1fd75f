package admin

import (
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// What the plots show: the last quarter of an hour, in steps. It takes some 20 KiB.
const (
	sampleEvery = 5 * time.Second
	maxSamples  = int(15 * time.Minute / sampleEvery)
)

// sample is what was measured at one moment, or since the sample before it. A number that
// is not known is NaN.
type sample struct {
	at                       time.Time
	perSecond                float64
	pending, oldest          float64 // rows, seconds
	median, slowest          float64 // p50 and p99 of the delivery latency, in seconds
	brokerAway, tableRefuses bool
}

// history is the samples. The zero value is empty. Safe for concurrent use.
type history struct {
	mu        sync.Mutex
	samples   []sample
	published uint64
	delivered []uint64
}

// moment is what a sample is made of.
type moment struct {
	at        time.Time
	status    relay.Status
	census    relay.Census
	upTo      []float64 // see [Options.Delivered]
	delivered []uint64
}

// add takes a sample. The first one has no rate and no latency.
func (h *history) add(m moment) {
	h.mu.Lock()
	defer h.mu.Unlock()
	unknown := math.NaN()
	s := sample{
		at: m.at, perSecond: unknown, pending: unknown, oldest: unknown, median: unknown, slowest: unknown,
		brokerAway: m.status.SinkDown != "", tableRefuses: m.status.TableDown != "",
	}
	if n := len(h.samples); n > 0 && m.status.Published >= h.published {
		if seconds := m.at.Sub(h.samples[n-1].at).Seconds(); seconds > 0 {
			s.perSecond = float64(m.status.Published-h.published) / seconds
		}
	}
	if !m.census.At.IsZero() {
		s.pending, s.oldest = float64(m.census.Due.Rows), m.census.OldestAgeAt(m.at).Seconds()
	}
	if len(h.delivered) == len(m.delivered) {
		counts := slices.Clone(m.delivered)
		for i := range counts {
			counts[i] -= h.delivered[i]
		}
		s.median, s.slowest = quantile(m.upTo, counts, 0.5), quantile(m.upTo, counts, 0.99)
	}
	h.published, h.delivered = m.status.Published, m.delivered
	if len(h.samples) == maxSamples {
		h.samples = slices.Delete(h.samples, 0, 1)
	}
	h.samples = append(h.samples, s)
}

// recent is the rate of the last two samples; 0 while it is not known.
func (h *history) recent() float64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	var sum float64
	var n int
	for _, s := range h.samples[max(0, len(h.samples)-2):] {
		if !math.IsNaN(s.perSecond) {
			sum, n = sum+s.perSecond, n+1
		}
	}
	if n == 0 {
		return 0
	}
	return sum / float64(n)
}

// quantile is the value below which that part of what was counted lies, as far as the
// bounds tell: within a bucket it is taken to be spread evenly. NaN for nothing.
func quantile(upTo []float64, counts []uint64, part float64) float64 {
	var all, below uint64
	for _, n := range counts {
		all += n
	}
	if all == 0 || len(counts) != len(upTo)+1 {
		return math.NaN()
	}
	rank := part * float64(all)
	for i, n := range counts {
		if float64(below+n) < rank || n == 0 {
			below += n
			continue
		}
		if i == len(upTo) {
			break // longer than the last bound: that is all that is known
		}
		from := 0.0
		if i > 0 {
			from = upTo[i-1]
		}
		return from + (upTo[i]-from)*(rank-float64(below))/float64(n)
	}
	return upTo[len(upTo)-1]
}

// series is the history as the page reads it, a list for each plot.
type series struct {
	At         []int64  `json:"at"` // seconds since 1970
	PerSecond  []number `json:"per_second"`
	Pending    []number `json:"pending"`
	Oldest     []number `json:"oldest_seconds"`
	Median     []number `json:"p50_seconds"`
	Slowest    []number `json:"p99_seconds"`
	BrokerAway []number `json:"broker_breaker"`
	Table      []number `json:"table_breaker"`
}

func (h *history) series() series {
	h.mu.Lock()
	defer h.mu.Unlock()
	// Before the first sample each plot is empty, and not null, which the page cannot draw.
	none := func() []number { return []number{} }
	all := series{At: []int64{}, PerSecond: none(), Pending: none(), Oldest: none(), Median: none(), Slowest: none(), BrokerAway: none(), Table: none()}
	for _, s := range h.samples {
		all.At = append(all.At, s.at.Unix())
		all.PerSecond = append(all.PerSecond, number(s.perSecond))
		all.Pending = append(all.Pending, number(s.pending))
		all.Oldest = append(all.Oldest, number(s.oldest))
		all.Median = append(all.Median, number(s.median))
		all.Slowest = append(all.Slowest, number(s.slowest))
		all.BrokerAway = append(all.BrokerAway, open(s.brokerAway))
		all.Table = append(all.Table, open(s.tableRefuses))
	}
	return all
}

// open is what a plot shows of a breaker.
func open(is bool) number {
	if is {
		return 1
	}
	return 0
}

// number is null in JSON where it is not known.
type number float64

// MarshalJSON implements [encoding/json.Marshaler].
func (n number) MarshalJSON() ([]byte, error) {
	if math.IsNaN(float64(n)) || math.IsInf(float64(n), 0) {
		return []byte("null"), nil
	}
	return strconv.AppendFloat(nil, float64(n), 'g', 6, 64), nil
}
