package telemetry

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"

	"github.com/outbox-relay/outbox-relay/relay"
)

// publishMeter counts and times messages, on the path of each of them: the sets of
// attributes are made once.
type publishMeter struct {
	published metric.Int64Counter
	failures  metric.Int64Counter
	delivery  metric.Float64Histogram
	duration  metric.Float64Histogram
	sent      metric.Int64Counter

	common   []attribute.KeyValue
	broker   []attribute.KeyValue
	topics   bool
	failed   map[relay.ErrorType]series
	acked    series
	byTopic  sync.Map // string to series
	topicsIn atomic.Int32
	// acknowledged is when the last acknowledgement came, in nanoseconds since 1970; 0:
	// never.
	acknowledged atomic.Int64
}

// series are the attributes of one kind of outcome.
type series struct {
	own       metric.MeasurementOption // of outbox_*
	messaging metric.MeasurementOption // of messaging.client.*
}

// Buckets in seconds. A broker beside the relay answers in less than a millisecond, and an
// outage of five minutes must still be told from one of an hour.
var buckets = metric.WithExplicitBucketBoundaries(
	0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)

// maxTopics is how many topics have a series of their own; the others share otherTopics.
const (
	maxTopics   = 100
	otherTopics = "other"
)

func newPublishMeter(m metric.Meter, o Options) (*publishMeter, error) {
	p := &publishMeter{
		common: []attribute.KeyValue{attribute.String("table", o.Table)},
		broker: []attribute.KeyValue{
			attribute.String("table", o.Table), semconv.MessagingSystemKey.String(o.Broker.System),
			semconv.MessagingOperationName(operation),
			semconv.ServerAddress(o.Broker.Server), semconv.ServerPort(o.Broker.Port),
		},
		topics: o.Topics, failed: make(map[relay.ErrorType]series),
	}
	var errs [5]error
	p.published, errs[0] = m.Int64Counter("outbox.published", metric.WithDescription("messages that the broker has acknowledged"))
	p.failures, errs[1] = m.Int64Counter("outbox.publish_failures", metric.WithDescription("attempts that were not acknowledged, by cause"))
	p.delivery, errs[2] = m.Float64Histogram("outbox.delivery_latency", metric.WithUnit("s"), buckets,
		metric.WithDescription("from the row's commit, or from when it was due, to its acknowledgement"))
	p.duration, errs[3] = m.Float64Histogram("messaging.client.operation.duration", metric.WithUnit("s"), buckets,
		metric.WithDescription("from the hand-over to the broker's answer"))
	p.sent, errs[4] = m.Int64Counter("messaging.client.sent.messages", metric.WithUnit("{message}"),
		metric.WithDescription("messages that were handed to the broker"))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	p.acked = p.series("", "")
	p.begin(p.acked)
	for _, t := range relay.ErrorTypes() {
		p.failed[t] = p.series(t, "")
		p.failures.Add(context.Background(), 0, p.failed[t].own)
	}
	return p, nil
}

// begin makes the series visible with their zero.
func (p *publishMeter) begin(s series) {
	p.published.Add(context.Background(), 0, s.own)
	p.sent.Add(context.Background(), 0, s.messaging)
}

func (p *publishMeter) series(t relay.ErrorType, topic string) series {
	own, messaging := p.common, p.broker
	if t != "" {
		cause := semconv.ErrorTypeKey.String(string(t))
		own, messaging = with(own, cause), with(messaging, cause)
	}
	if topic != "" {
		own = with(own, attribute.String("topic", topic))
	}
	return series{
		own:       metric.WithAttributeSet(attribute.NewSet(own...)),
		messaging: metric.WithAttributeSet(attribute.NewSet(messaging...)),
	}
}

func with(to []attribute.KeyValue, more attribute.KeyValue) []attribute.KeyValue {
	return append(slices.Clip(to), more)
}

// record notes the outcome of a message.
func (p *publishMeter) record(m *relay.Message, o relay.Outcome, took time.Duration, now time.Time) {
	ctx := context.Background()
	if o.Class == relay.Withdrawn {
		return // it was never written
	}
	if o.Class != relay.Acknowledged {
		s, ok := p.failed[errorType(o)]
		if !ok {
			s = p.failed[relay.ErrorTypeOther]
		}
		p.failures.Add(ctx, 1, s.own)
		p.sent.Add(ctx, 1, s.messaging)
		p.duration.Record(ctx, took.Seconds(), s.messaging)
		return
	}
	s := p.acked
	if p.topics {
		s = p.topic(m.Topic)
	}
	p.published.Add(ctx, 1, s.own)
	p.sent.Add(ctx, 1, s.messaging)
	p.duration.Record(ctx, took.Seconds(), s.messaging)
	if !m.DueSince.IsZero() {
		p.delivery.Record(ctx, sinceDue(m, now).Seconds(), s.own)
	}
	p.acknowledged.Store(now.UnixNano())
}

// topic is the series of a topic, or the one that all topics share after the first ones.
func (p *publishMeter) topic(name string) series {
	if s, ok := p.byTopic.Load(name); ok {
		return s.(series)
	}
	if p.topicsIn.Load() >= maxTopics {
		name = otherTopics
	} else {
		p.topicsIn.Add(1)
	}
	s, known := p.byTopic.LoadOrStore(name, p.series("", name))
	if !known {
		p.begin(s.(series))
	}
	return s.(series)
}

// errorType is the cause of an outcome that is no acknowledgement.
func errorType(o relay.Outcome) relay.ErrorType {
	if o.Type == "" {
		return relay.ErrorTypeOther
	}
	return o.Type
}
