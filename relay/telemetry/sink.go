package telemetry

import (
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/outbox-relay/outbox-relay/relay"
)

// Observe puts a sink around the sink, which counts, times and traces what goes through
// it. The order, the promises and the outcomes are the inner sink's.
func (t *Telemetry) Observe(inner relay.Sink) relay.Sink {
	s := &sink{Sink: inner, publish: t.publish}
	s.pausing, _ = inner.(relay.Pausing)
	if t.tracers != nil {
		s.tracer = &tracer{Tracer: t.tracers.Tracer(scope), broker: t.options.Broker, context: t.options.Context}
	}
	s.publications.New = func() any {
		p := &publication{sink: s}
		p.report = p.reported
		return p
	}
	if laned, ok := inner.(relay.Laned); ok {
		return &lanedSink{sink: s, laned: laned}
	}
	return s
}

// sink is what [Telemetry.Observe] returns.
type sink struct {
	relay.Sink
	pausing      relay.Pausing // nil: the inner sink is not
	publish      *publishMeter
	tracer       *tracer   // nil: no traces
	publications sync.Pool // of *publication
}

var _ relay.Pausing = (*sink)(nil)

// Publish implements [relay.Sink].
func (s *sink) Publish(m *relay.Message, report relay.Report) {
	p := s.begin(m, report)
	s.Sink.Publish(p.sent, p.report)
}

// Paused implements [relay.Pausing].
func (s *sink) Paused() error {
	if s.pausing == nil {
		return nil
	}
	return s.pausing.Paused()
}

// lanedSink is a [sink] around one that has lanes.
type lanedSink struct {
	*sink
	laned relay.Laned
}

var _ relay.Laned = (*lanedSink)(nil)

// Lane implements [relay.Laned].
func (s *lanedSink) Lane(m *relay.Message) relay.Lane { return s.laned.Lane(m) }

// PublishIn implements [relay.Laned].
func (s *lanedSink) PublishIn(l relay.Lane, m *relay.Message, report relay.Report) {
	p := s.begin(m, report)
	s.laned.PublishIn(l, p.sent, p.report)
}

// Flush implements [relay.Laned].
func (s *lanedSink) Flush() { s.laned.Flush() }

// publication is a message between its hand-over and its outcome.
type publication struct {
	sink   *sink
	report relay.Report // for the inner sink: reported, made once

	message *relay.Message
	sent    *relay.Message // message, or a copy with another trace context
	outer   relay.Report
	span    trace.Span // nil: no traces
	began   time.Time
}

func (s *sink) begin(m *relay.Message, report relay.Report) *publication {
	p := s.publications.Get().(*publication)
	p.message, p.sent, p.outer, p.began = m, m, report, time.Now()
	if s.tracer != nil {
		p.sent, p.span = s.tracer.begin(m, p.began)
	}
	return p
}

// reported is called by the inner sink, once.
func (p *publication) reported(_ *relay.Message, o relay.Outcome) {
	now := time.Now()
	p.sink.publish.record(p.message, o, now.Sub(p.began), now)
	if p.span != nil {
		end(p.span, o, now)
	}
	m, outer := p.message, p.outer
	s := p.sink
	p.message, p.sent, p.outer, p.span = nil, nil, nil, nil
	s.publications.Put(p)
	outer(m, o)
}
