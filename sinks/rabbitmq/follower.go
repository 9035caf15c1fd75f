package rabbitmq

import (
	"slices"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/relay"
)

// look is the interval at which a follower looks for confirms that came out of order
// and for messages whose time is over.
const look = 5 * time.Millisecond

// mostOvertaken is how many confirms may overtake a missing one. The library keeps an
// entry of some 40 bytes for each of them until the missing one comes or the channel is
// closed.
const mostOvertaken = 16_384

// follower takes what comes back on a channel. One goroutine owns it.
type follower struct {
	session   *session
	channel   *channel
	lane      int
	open      []entry // in the order of writing
	returned  returned
	late      int       // entries without their message
	stale     []lateKey // of late entries that were confirmed: their returns count for no message
	overtaken int       // confirms that came while a late one was missing
	retired   bool      // the lane has another channel
	drained   bool      // the broker owes nothing but late confirms
}

// run follows the channel to its end. It returns the messages that are left in flight,
// in the order of writing, and why the broker closed the channel. A retired channel
// ends when it is drained, with no message left.
func (f *follower) run() (left []entry, cause *amqp.Error) {
	c := f.channel
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		f.open = c.collect(f.open)
		f.forgetLate()
		if f.retired && f.late == len(f.open) {
			f.drained = true
			return f.end(), nil
		}
		if len(f.open) == 0 {
			select {
			case <-c.fresh:
				continue
			case cause = <-c.closes:
				return f.end(), cause
			}
		}
		all := false // whether to look beyond the first one that is not confirmed
		select {
		case <-f.open[0].confirm.Done():
		case now := <-tick.C:
			all = true
			f.open = c.collect(f.open)
			f.refuseLate(now)
		case cause = <-c.closes:
			return f.end(), cause
		}
		f.reportConfirmed(all)
		if f.worn() && !f.retired {
			f.retired = f.session.replace(f.lane, c)
		}
	}
}

// worn returns whether the channel should be replaced by a new one: the messages that
// were given up fill half of its window, or the library's memory grows.
func (f *follower) worn() bool {
	return f.late > 0 && f.late >= int(f.channel.window+1)/2 || f.overtaken >= mostOvertaken
}

// reportConfirmed reports what was confirmed: the entries before the first one that
// was not, and those after it too if all is set.
func (f *follower) reportConfirmed(all bool) {
	n := 0
	for n < len(f.open) && confirmed(f.open[n]) {
		n++
	}
	done := f.open[:n]
	rest := f.open[n:]
	all = all && slices.ContainsFunc(rest, confirmed)
	if all {
		done, rest = split(f.open)
	}
	if len(done) == 0 {
		return
	}
	// A return comes before its confirm, so the returns of all that was found confirmed
	// are in the channel by now.
	f.returned.drain(f.channel.returns)
	kept := 0
	for i := range done {
		if !f.settle(done[i]) {
			done[kept] = done[i]
			kept++
		}
	}
	freed := len(done) - kept
	if kept == 0 && !all {
		clear(done)
		f.open = rest
		if len(rest) == 0 {
			f.open = nil
		}
	} else {
		f.open = append(append(make([]entry, 0, kept+len(rest)), done[:kept]...), rest...)
	}
	f.channel.release(freed)
}

// split parts the confirmed entries from the others, each in order.
func split(open []entry) (done, rest []entry) {
	for _, e := range open {
		if confirmed(e) {
			done = append(done, e)
		} else {
			rest = append(rest, e)
		}
	}
	return done, rest
}

func confirmed(e entry) bool {
	select {
	case <-e.confirm.Done():
		return true
	default:
		return false
	}
}

// settle reports a confirmed entry. It returns false if the confirm may not be the
// broker's: the library makes up a negative one for everything in flight when a channel
// closes. It calls the channel closed before that, so a confirm is genuine if the
// channel is open now.
func (f *follower) settle(e entry) bool {
	ack := e.confirm.Acked()
	if !ack && f.channel.amqp.IsClosed() {
		return false
	}
	f.session.prove(e.written)
	if e.message == nil {
		f.late--
		f.stale = append(f.stale, *e.late)
		if f.late == 0 {
			f.overtaken = 0
		}
		return true
	}
	if f.late > 0 {
		f.overtaken++
	}
	m := e.message
	if f.lane == f.session.options.Channels {
		f.session.sink.suspects.clear(m.Topic) // it closed no channel
	}
	text, returned := f.returned.take(m)
	switch {
	case returned:
		e.done(unroutable(f.session.options.Exchange, m, text))
	case ack:
		e.done(relay.Outcome{Class: relay.Acknowledged})
	default:
		e.done(nacked(f.session.options.Exchange, m.Topic))
	}
	return true
}

// forgetLate drops the returns of late messages, so that they do not count for a later
// sending of the same message. It waits until no such sending is in flight: while one
// is, nothing tells which of the two a return belongs to, and it counts for the later
// one. If that is wrong, a message that a queue has is refused and sent again. The other
// mistake, to acknowledge a message that no queue has, would lose it.
func (f *follower) forgetLate() {
	if len(f.stale) == 0 {
		return
	}
	f.channel.awaitHandover() // of a message that may have been returned already
	f.open = f.channel.collect(f.open)
	f.stale = slices.DeleteFunc(f.stale, func(key lateKey) bool {
		if slices.ContainsFunc(f.open, func(e entry) bool { return e.message != nil && key.of(e.message) }) {
			return false
		}
		f.returned.forget(key)
		return true
	})
}

// refuseLate refuses messages whose time is over, if the broker is seen to work: it
// confirmed a message that was written later, or answered a question that was asked
// after their time was over. If not, it has the broker asked.
func (f *follower) refuseLate(now time.Time) {
	s := f.session
	for i := range f.open {
		e := &f.open[i]
		deadline := s.deadline(e.written, s.options.AckTimeout)
		if now.Before(deadline) {
			return // the later ones were written later
		}
		if e.message == nil || confirmed(*e) {
			continue
		}
		if !s.provedSince(e.written, deadline) {
			s.doubt()
			return
		}
		it := e.item
		e.late = &lateKey{it.message.MessageID, it.message.Topic}
		e.item = item{}
		f.late++
		if topic := it.message.Topic; f.lane == s.options.Channels {
			s.sink.silent.add(topic, now, now.Add(s.options.AckTimeout))
		}
		it.done(timedOut(it.message.Topic))
	}
}

// end takes no more entries, reports what is known, and returns the rest.
func (f *follower) end() []entry {
	f.channel.end()
	f.open = f.channel.collect(f.open)
	f.returned.drain(f.channel.returns)
	var left []entry
	for _, e := range f.open {
		if e.message == nil {
			continue
		}
		if text, returned := f.returned.take(e.message); returned {
			e.done(unroutable(f.session.options.Exchange, e.message, text))
			continue
		}
		if e.confirm.Acked() {
			e.done(relay.Outcome{Class: relay.Acknowledged})
			continue
		}
		left = append(left, e)
	}
	f.open = nil
	return left
}
