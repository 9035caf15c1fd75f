package rabbitmq

import "github.com/outbox-relay/outbox-relay/relay"

// losses finds the message that ends the connection of the late topics. If only that
// connection is lost, no attempt is counted: otherwise the messages of all late topics
// would be blamed for a network that fails. But then a message that ends every
// connection would come back for ever. So a message that was in flight at two losses in
// a row is tried alone. If the connection is lost again, this message is the cause.
//
// Schedule that starves it: a suspect waits until nothing else is in flight. Messages of
// other late topics come all the time, and something always is. So what comes after a
// suspect waits with it.
type losses struct {
	flying   int                    // messages that were written and are not reported
	alone    bool                   // one of these is a suspect, and there is no other
	drains   bool                   // a suspect of this turn waits for those in flight
	of       *session               // the session that was lost last
	last     map[relay.Ref]struct{} // messages that were in flight at the last loss, and not reported since
	before   map[relay.Ref]struct{} // the same for the loss before that
	suspects map[relay.Ref]struct{} // messages to be tried alone
}

// mostLost bounds the memory if rows that were lost never come again.
const mostLost = 1000

func newLosses() losses {
	return losses{last: make(map[relay.Ref]struct{}), suspects: make(map[relay.Ref]struct{})}
}

// turnBegins is called before the messages that wait are dealt with, in their order.
func (l *losses) turnBegins() { l.drains = false }

// waits returns whether the message has to wait for those in flight. If it is a
// suspect, those that follow in this turn wait for it.
func (l *losses) waits(r relay.Ref) bool {
	if l.isDue(r) {
		l.drains = true
	}
	return l.alone || l.drains
}

// isDue returns whether the message is a suspect, which is written as soon as nothing is
// in flight any more.
func (l *losses) isDue(r relay.Ref) bool {
	_, suspect := l.suspects[r]
	return suspect && l.flying > 0
}

// begin returns whether the message may be written now. If so, it counts the message.
func (l *losses) begin(r relay.Ref) bool {
	if l.waits(r) {
		return false
	}
	_, suspect := l.suspects[r]
	l.flying++
	l.alone = suspect
	return true
}

// withdraw takes back what begin has counted: the message was not written.
func (l *losses) withdraw() { l.flying, l.alone = l.flying-1, false }

// end notes that a message was reported. A message that was tried, and ended no
// connection, is no suspect any more.
func (l *losses) end(r relay.Ref, class relay.Class) {
	l.flying, l.alone = l.flying-1, false
	if class == relay.Postponed || class == relay.Unknown {
		return
	}
	delete(l.last, r)
	delete(l.before, r)
	delete(l.suspects, r)
}

// blame makes a message be tried alone the next time too.
func (l *losses) blame(r relay.Ref) { l.suspects[r] = struct{}{} }

// lost notes that the connection of a session was lost, with left in flight on one of
// its channels. It returns whether left is a message that was alone, and so is the
// cause. The channels of one session count as one loss.
func (l *losses) lost(of *session, left []entry) (guilty bool) {
	if len(left) == 0 {
		return false
	}
	if l.alone && len(left) == 1 {
		return true
	}
	if len(l.suspects) >= mostLost {
		clear(l.suspects)
	}
	if l.of != of {
		l.of, l.before, l.last = of, l.last, make(map[relay.Ref]struct{}, len(left))
	}
	for _, e := range left {
		r := e.message.Ref
		l.last[r] = struct{}{}
		if _, again := l.before[r]; again {
			l.suspects[r] = struct{}{}
		}
	}
	return false
}
