package engine

import "github.com/outbox-relay/outbox-relay/relay"

// suspects finds the message that kills connections. When a connection is lost, nobody
// knows which of the messages with the sink was the cause, and mostly none was. So a
// message that was with the sink at two losses in a row becomes a suspect: it is tried
// alone. If the connection is lost again, an attempt is counted, as for a refused
// message, and in the end the message is dead. Without this the relay would reconnect
// for ever. Innocent suspects are acknowledged, one by one.
//
// Suspects live in memory. A new term of leadership finds the message again.
type suspects struct {
	lastLoss  map[relay.Ref]struct{} // with the sink at the last loss, not acknowledged since
	lossNow   map[relay.Ref]struct{} // with the sink at the loss now being reported
	suspected map[relay.Ref]struct{}
}

func newSuspects() *suspects {
	return &suspects{
		lastLoss:  make(map[relay.Ref]struct{}),
		lossNow:   make(map[relay.Ref]struct{}),
		suspected: make(map[relay.Ref]struct{}),
	}
}

// has says whether the row is to be tried alone.
func (s *suspects) has(r relay.Ref) bool {
	_, ok := s.suspected[r]
	return ok
}

// lossBegins is called once for each loss, before its rows are named.
func (s *suspects) lossBegins() {
	s.lastLoss, s.lossNow = s.lossNow, s.lastLoss
	clear(s.lossNow)
}

// lost notes that the row was with the sink at this loss.
func (s *suspects) lost(r relay.Ref) {
	s.lossNow[r] = struct{}{}
	if _, again := s.lastLoss[r]; again {
		s.suspected[r] = struct{}{}
	}
}

// cleared forgets a row, because it was acknowledged, or its outcome is committed.
func (s *suspects) cleared(r relay.Ref) {
	if len(s.lossNow)+len(s.lastLoss)+len(s.suspected) == 0 {
		return // nearly always
	}
	delete(s.lossNow, r)
	delete(s.lastLoss, r)
	delete(s.suspected, r)
}
