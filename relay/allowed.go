package relay

// Allow puts a sink around the sink that hands it no message whose topic the patterns
// do not allow. Such a message is refused, as one is whose topic the broker does not
// permit: the application may have made a mistake, or whoever set the patterns, and then
// nothing is lost by it.
func Allow(inner Sink, topics Topics) Sink {
	if topics == "" {
		return inner
	}
	s := &allowing{Sink: inner, topics: topics}
	s.pausing, _ = inner.(Pausing)
	if laned, ok := inner.(Laned); ok {
		return &allowingLanes{allowing: s, laned: laned}
	}
	return s
}

// allowing is what [Allow] returns.
type allowing struct {
	Sink
	topics  Topics
	pausing Pausing // nil: the inner sink is not
}

var _ Pausing = (*allowing)(nil)

// Publish implements [Sink].
func (s *allowing) Publish(m *Message, report Report) {
	if s.refuses(m, report) {
		return
	}
	s.Sink.Publish(m, report)
}

// refuses tells whether the message went no further.
func (s *allowing) refuses(m *Message, report Report) bool {
	if s.topics.Allows(m.Topic) {
		return false
	}
	if m.Own { // rows do not choose the dead-letter topic
		return false
	}
	report(m, RefusedOutcome(ErrorTypeForbidden, "topic %s is not allowed: no pattern of OUTBOX_TOPICS_ALLOW=%s matches it", Quote(m.Topic), s.topics))
	return true
}

// Paused implements [Pausing].
func (s *allowing) Paused() error {
	if s.pausing == nil {
		return nil
	}
	return s.pausing.Paused()
}

// allowingLanes is an [allowing] sink around one that has lanes.
type allowingLanes struct {
	*allowing
	laned Laned
}

var _ Laned = (*allowingLanes)(nil)

// Lane implements [Laned]. What is not allowed joins no lane, whose later messages would
// come back as withdrawn with it.
func (s *allowingLanes) Lane(m *Message) Lane {
	if !s.topics.Allows(m.Topic) {
		return Lane{}
	}
	return s.laned.Lane(m)
}

// PublishIn implements [Laned].
func (s *allowingLanes) PublishIn(l Lane, m *Message, report Report) {
	if s.refuses(m, report) {
		return
	}
	s.laned.PublishIn(l, m, report)
}

// Flush implements [Laned].
func (s *allowingLanes) Flush() { s.laned.Flush() }
