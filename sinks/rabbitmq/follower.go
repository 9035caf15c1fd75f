package rabbitmq

import (
	"slices"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
)

// look is the interval at which a follower looks for confirms that came out of order
// and for messages whose time is over.
const look = 5 * time.Millisecond

// mostOvertaken is how many confirms may overtake a missing one. The library keeps an
// entry of some 40 bytes for each of them until the missing one comes or the channel is
// closed.
const mostOvertaken = 16_384

// follower reads the confirms and returns of a channel, and reports its messages. One
// goroutine owns it.
type follower struct {
	session   *session
	channel   *channel
	outlet    *outlet
	judge     *link.Judge
	replies   chan error // holds one: the answer to the question that was put
	open      []entry    // in the order of writing
	returned  returned
	doubted   string // topic of the oldest message, while a question is open
	late      int    // entries without their message
	overtaken int    // confirms that came while the confirm of a late message was missing
	retired   bool   // the outlet has another channel
	drained   bool   // the broker owes nothing but late confirms
}

func newFollower(s *session, o *outlet, c *channel) *follower {
	return &follower{
		session: s, channel: c, outlet: o,
		judge: link.NewJudge(s.options.AckTimeout), replies: make(chan error, 1),
	}
}

// run follows the channel to its end. It returns the messages that are left in flight,
// in the order of writing, and why the broker closed the channel. A retired channel
// ends when it is drained, with no message left.
func (f *follower) run() (left []entry, cause *amqp.Error) {
	c := f.channel
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		f.open = c.inbox.collect(f.open)
		if f.retired && f.late == len(f.open) {
			f.drained = true
			return f.end(), nil
		}
		if len(f.open) == 0 {
			select {
			case <-c.inbox.fresh:
				continue
			case err := <-f.replies:
				f.takeReply(err)
				continue
			case cause = <-c.closes:
				return f.end(), cause
			}
		}
		all := false // whether to look beyond the first message that is not confirmed
		select {
		case <-f.open[0].confirm.Done():
		case now := <-tick.C:
			all = true
			f.open = c.inbox.collect(f.open)
			f.judgeOpen(now)
		case err := <-f.replies:
			f.takeReply(err)
		case cause = <-c.closes:
			return f.end(), cause
		}
		f.reportConfirmed(all)
		if f.worn() && !f.retired {
			f.retired = f.session.replace(f.outlet, c)
		}
	}
}

// worn returns whether the channel should be replaced by a new one: the messages that
// were given up fill half of its window, or the library's memory grows.
func (f *follower) worn() bool {
	if f.outlet.writer.kind == lateWriter { // few messages, which count until the broker has confirmed them
		return f.overtaken >= mostOvertaken
	}
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
	// A return comes before its confirm, so the returns of all confirmed messages are
	// in the channel by now.
	f.returned.drain(f.channel.returns)
	kept := 0
	now := time.Now()
	for i := range done {
		if !f.settle(done[i], now) {
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

// split separates the confirmed entries from the others, both in order.
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
// broker's: when a channel closes, the library makes up a negative one for everything
// in flight. Before that it marks the channel as closed, so the confirm is genuine if
// the channel is open now.
func (f *follower) settle(e entry, now time.Time) bool {
	ack := e.confirm.Acked()
	if !ack && f.channel.amqp.IsClosed() {
		return false
	}
	f.judge.Answer(e.written, now)
	f.session.signs.hear(now)
	f.uncount(e)
	if e.message == nil {
		if f.late--; f.late == 0 {
			f.overtaken = 0
		}
		return true
	}
	if f.late > 0 {
		f.overtaken++
	}
	if f.outlet.writer.kind == lateWriter && now.Sub(e.written) < link.Patience(f.session.options.AckTimeout) {
		f.session.sink.late.clear(e.topic)
	}
	m := e.message
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

// uncount makes room for another message of a late topic, because the broker owes no
// confirm for this one any more.
func (f *follower) uncount(e entry) {
	if f.outlet.writer.kind == lateWriter {
		f.session.sink.late.release(e.topic)
	}
}

// end takes no more entries, reports what is known, and returns the rest.
func (f *follower) end() []entry {
	f.channel.end()
	f.open = f.channel.inbox.collect(f.open)
	f.returned.drain(f.channel.returns)
	var left []entry
	for _, e := range f.open {
		f.uncount(e)
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
