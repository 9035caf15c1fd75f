package telemetry

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"

	"github.com/outbox-relay/outbox-relay/relay"
)

var _ sdkmetric.Producer = (*publishMeter)(nil)

// publishMeter counts and times messages. It is on the path of each of them, where
// OpenTelemetry's own instruments took a sixth of the relay's time: they look up the set of
// attributes at every call. So it counts in plain atomics, and is read as a producer when
// metrics are collected. Its series exist before their first message, histograms too.
type publishMeter struct {
	began  time.Time
	common []attribute.KeyValue
	broker []attribute.KeyValue
	topics bool

	acked  *series // without a topic
	failed map[relay.ErrorType]*series
	// byTopic has the acknowledged ones, where the topic is a label.
	byTopic  sync.Map // string to *series
	topicsIn atomic.Int32
	// acknowledged is when the last acknowledgement came, in nanoseconds since 1970; 0:
	// never.
	acknowledged atomic.Int64
}

// series is what is counted of one kind of outcome.
type series struct {
	own       attribute.Set // of outbox_*
	messaging attribute.Set // of messaging.client.*
	messages  atomic.Uint64
	delivery  histogram
	duration  histogram
}

// maxTopics is how many topics have a series of their own; the others share otherTopics.
const (
	maxTopics   = 100
	otherTopics = "other"
)

func newPublishMeter(o Options) *publishMeter {
	p := &publishMeter{
		began:  time.Now(),
		common: []attribute.KeyValue{attribute.String("table", o.Table)},
		broker: []attribute.KeyValue{
			attribute.String("table", o.Table), semconv.MessagingSystemKey.String(o.Broker.System),
			semconv.MessagingOperationName(operation),
			semconv.ServerAddress(o.Broker.Server), semconv.ServerPort(o.Broker.Port),
		},
		topics: o.Topics, failed: make(map[relay.ErrorType]*series),
	}
	p.acked = p.series("", "")
	for _, t := range relay.ErrorTypes() {
		p.failed[t] = p.series(t, "")
	}
	return p
}

func (p *publishMeter) series(t relay.ErrorType, topic string) *series {
	own, messaging := p.common, p.broker
	if t != "" {
		cause := semconv.ErrorTypeKey.String(string(t))
		own, messaging = with(own, cause), with(messaging, cause)
	}
	if topic != "" {
		own, messaging = with(own, attribute.String("topic", topic)), with(messaging, attribute.String("topic", topic))
	}
	return &series{own: attribute.NewSet(own...), messaging: attribute.NewSet(messaging...)}
}

func with(to []attribute.KeyValue, more attribute.KeyValue) []attribute.KeyValue {
	return append(to[:len(to):len(to)], more) //nolint:modernize // to is shared, and stays as it is
}

// record notes the outcome of a message. Safe for any goroutine.
func (p *publishMeter) record(m *relay.Message, o relay.Outcome, took time.Duration, now time.Time) {
	switch o.Class {
	case relay.Withdrawn, relay.Postponed: // it was never written
	case relay.Acknowledged:
		s := p.acked
		if p.topics {
			s = p.topic(m.Topic)
		}
		s.messages.Add(1)
		s.duration.record(took)
		if !m.DueSince.IsZero() {
			s.delivery.record(sinceDue(m, now))
		}
		p.acknowledged.Store(now.UnixNano())
	default:
		s, ok := p.failed[errorType(o)]
		if !ok {
			s = p.failed[relay.ErrorTypeOther]
		}
		s.messages.Add(1)
		s.duration.record(took)
	}
}

// topic is the series of a topic, or the one that all topics share after the first ones.
func (p *publishMeter) topic(name string) *series {
	if s, ok := p.byTopic.Load(name); ok {
		return s.(*series)
	}
	if p.topicsIn.Load() >= maxTopics {
		name = otherTopics
	} else {
		p.topicsIn.Add(1)
	}
	s, _ := p.byTopic.LoadOrStore(name, p.series("", name))
	return s.(*series)
}

// delivered adds up the delivery latencies of all topics.
func (p *publishMeter) delivered() []uint64 {
	counts := make([]uint64, len(p.acked.delivery.counts))
	add := func(s *series) {
		for i := range counts {
			counts[i] += s.delivery.counts[i].Load()
		}
	}
	add(p.acked)
	p.byTopic.Range(func(_, s any) bool {
		add(s.(*series))
		return true
	})
	return counts
}

// errorType is the cause of an outcome that is no acknowledgement.
func errorType(o relay.Outcome) relay.ErrorType {
	if o.Type == "" {
		return relay.ErrorTypeOther
	}
	return o.Type
}

// Produce implements [sdkmetric.Producer].
func (p *publishMeter) Produce(context.Context) ([]metricdata.ScopeMetrics, error) {
	now := time.Now()
	acked := []*series{p.acked}
	if p.topics {
		p.byTopic.Range(func(_, s any) bool {
			acked = append(acked, s.(*series))
			return true
		})
	}
	failed := make([]*series, 0, len(p.failed))
	for _, t := range relay.ErrorTypes() {
		failed = append(failed, p.failed[t])
	}
	all := append(acked[:len(acked):len(acked)], failed...) //nolint:modernize // both are used again
	own := func(s *series) attribute.Set { return s.own }
	messaging := func(s *series) attribute.Set { return s.messaging }
	delivery := func(s *series) *histogram { return &s.delivery }
	duration := func(s *series) *histogram { return &s.duration }
	return []metricdata.ScopeMetrics{{
		Scope: instrumentation.Scope{Name: scope},
		Metrics: []metricdata.Metrics{
			{Name: "outbox.published", Description: "messages that the broker has acknowledged", Data: p.sum(acked, own, now)},
			{Name: "outbox.publish_failures", Description: "attempts that were not acknowledged, by cause", Data: p.sum(failed, own, now)},
			{
				Name: "outbox.delivery_latency", Unit: "s", Description: "from the row's commit, or from when it was due, to its acknowledgement",
				Data: p.histogram(acked, own, delivery, now),
			},
			{
				Name: "messaging.client.operation.duration", Unit: "s", Description: "from the hand-over to the broker's answer",
				Data: p.histogram(all, messaging, duration, now),
			},
			{
				Name: "messaging.client.sent.messages", Unit: "{message}", Description: "messages that were handed to the broker",
				Data: p.sum(all, messaging, now),
			},
		},
	}}, nil
}

func (p *publishMeter) sum(of []*series, attributes func(*series) attribute.Set, now time.Time) metricdata.Sum[int64] {
	sum := metricdata.Sum[int64]{Temporality: metricdata.CumulativeTemporality, IsMonotonic: true}
	for _, s := range of {
		sum.DataPoints = append(sum.DataPoints, metricdata.DataPoint[int64]{
			Attributes: attributes(s), StartTime: p.began, Time: now,
			Value: int64(s.messages.Load()), //nolint:gosec // no relay publishes 2^63 messages
		})
	}
	return sum
}

func (p *publishMeter) histogram(
	of []*series, attributes func(*series) attribute.Set, pick func(*series) *histogram, now time.Time,
) metricdata.Histogram[float64] {
	h := metricdata.Histogram[float64]{Temporality: metricdata.CumulativeTemporality}
	for _, s := range of {
		point := pick(s).read()
		point.Attributes, point.StartTime, point.Time = attributes(s), p.began, now
		h.DataPoints = append(h.DataPoints, point)
	}
	return h
}
