package rabbitmq

import (
	"slices"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/relay"
)

// look is how often confirms that came out of order, and messages whose time is
// over, are looked for.
const look = 5 * time.Millisecond

// mostOvertaken is how many confirms may overtake one that does not come. The
// library keeps an entry for each of them, some 40 bytes, until the first comes or
// the channel is closed.
const mostOvertaken = 16_384

// follower takes what comes back on a channel. One goroutine owns it.
type follower struct {
	session   *session
	channel   *channel
	lane      int
	open      []entry // in the order of writing
	returned  returned
	late      int       // entries without their message
	stale     []lateKey // of late entries that were confirmed: their returns are nobody's
	overtaken int       // confirms that have come since the first of the late ones did not
	retired   bool      // the lane has another channel by now
	drained   bool      // the broker owes nothing but late confirms
}

// run follows the channel to its end and returns the messages left in flight,
// in the order of writing, and why the broker closed the channel. A channel that
// is retired ends when it is drained, with nothing left.
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
		f.sweep(all)
		if f.worn() && !f.retired {
			f.retired = f.session.replace(f.lane, c)
		}
	}
}

// worn says that the channel should be replaced by one that owes nothing: the
// messages that were given up fill its window, or the library's memory.
func (f *follower) worn() bool {
	return f.late > 0 && f.late >= int(f.channel.window+1)/2 || f.overtaken >= mostOvertaken
}

// sweep reports what was confirmed.
func (f *follower) sweep(all bool) {
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
	// A return comes before its confirm: what was confirmed when the look began has
	// its return in the channel by now.
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
	f.channel.freed(freed)
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

// settle reports a confirmed entry. It returns false where the library may have
// made the confirm up: it gives a negative one to all that is in flight when a
// channel closes. The channel is called closed before that, so one that is open
// now has really been told.
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

// forgetLate has the returns of late messages not taken for those of their later
// sendings, once none of these is in flight. While one is, nothing tells whose a
// return is, and it counts for the later sending: refused though a queue has it,
// that one comes again; acknowledged though no queue has it, it would be lost.
func (f *follower) forgetLate() {
	if len(f.stale) == 0 {
		return
	}
	f.channel.handedOver() // what may have been returned already
	f.open = f.channel.collect(f.open)
	f.stale = slices.DeleteFunc(f.stale, func(key lateKey) bool {
		if slices.ContainsFunc(f.open, func(e entry) bool { return e.message != nil && key.of(e.message) }) {
			return false
		}
		f.returned.forget(key)
		return true
	})
}

// refuseLate refuses messages whose time is over, where the broker is seen to
// work: it confirmed a message written later, or answered when it was asked after
// their time was over. Else it has the broker asked.
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
