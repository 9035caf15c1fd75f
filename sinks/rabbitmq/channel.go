package rabbitmq

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/relay"
)

// entry is a message in flight. One that was refused for lateness stays without
// its message, because the broker still owes the confirm.
type entry struct {
	item
	confirm *amqp.DeferredConfirmation
	written time.Time
	late    *returnKey // of a message that was refused for lateness
}

// channel is one channel of a connection. A lane writes to it, a follower takes
// what comes back; an entry goes from one to the other after the library is done
// with the message, so that whoever reports a message does not race with its
// writing.
type channel struct {
	amqp    *amqp.Channel
	closes  chan *amqp.Error
	returns chan amqp.Return
	window  int32
	used    atomic.Int32  // confirms that the broker owes
	room    chan struct{} // has room for one: used has gone down
	done    chan struct{} // closed when the follower takes no more entries

	mu    sync.Mutex
	inbox []entry
	fresh chan struct{} // has room for one: the inbox is not empty any more
	ended bool
}

// openChannel blocks until the broker has answered or the connection ends.
func openChannel(conn *amqp.Connection, window int) (*channel, error) {
	ch, err := conn.Channel()
	if err != nil {
		return nil, err
	}
	c := &channel{
		amqp:   ch,
		window: int32(window),
		closes: ch.NotifyClose(make(chan *amqp.Error, 1)),
		// As large as the window: the library drops a return that finds no room, and
		// the confirm that follows it would pass for an acknowledgement.
		returns: ch.NotifyReturn(make(chan amqp.Return, window)),
		room:    make(chan struct{}, 1),
		done:    make(chan struct{}),
		fresh:   make(chan struct{}, 1),
	}
	if err := ch.Confirm(false); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *channel) full() bool { return c.used.Load() >= c.window }

// take hands an entry to the follower; false: it has ended.
func (c *channel) take(e entry) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return false
	}
	c.inbox = append(c.inbox, e)
	if len(c.inbox) == 1 {
		select {
		case c.fresh <- struct{}{}:
		default:
		}
	}
	return true
}

// collect moves the inbox to the end of open.
func (c *channel) collect(open []entry) []entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	open = append(open, c.inbox...)
	clear(c.inbox)
	c.inbox = c.inbox[:0]
	return open
}

// end refuses further entries.
func (c *channel) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	close(c.done)
}

// freed notes that the broker owes n confirms less.
func (c *channel) freed(n int) {
	if n == 0 {
		return
	}
	c.used.Add(int32(-n))
	select {
	case c.room <- struct{}{}:
	default:
	}
}

// look is how often confirms that came out of order, and messages whose time is
// over, are looked for.
const look = 5 * time.Millisecond

// follower takes what comes back on a channel. One goroutine owns it.
type follower struct {
	session  *session
	channel  *channel
	lane     int
	open     []entry // in the order of writing
	returned returned
	late     int // entries without their message
}

// run follows the channel to its end and returns the messages left in flight,
// in the order of writing, and why the channel was closed; nil if it was not the
// broker who did.
func (f *follower) run() (left []entry, cause *amqp.Error) {
	c := f.channel
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		f.open = c.collect(f.open)
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
	}
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
		f.returned.forget(*e.late) // not to be taken for that of a later sending
		return true
	}
	m := e.message
	if f.lane == f.session.options.Channels {
		f.session.sink.suspects.clear(m.Topic) // it closed no channel
	}
	text, returned := f.returned.take(m)
	switch {
	case returned:
		e.done(unroutable(f.session.options.Exchange, m.Topic, text))
	case ack:
		e.done(relay.Outcome{Class: relay.Acknowledged})
	default:
		e.done(nacked(f.session.options.Exchange, m.Topic))
	}
	return true
}

// refuseLate refuses messages whose time is over, where the broker is seen to
// work: it confirmed a message written later, or answered when it was asked after
// their time was over. Else it has the broker asked.
func (f *follower) refuseLate(now time.Time) {
	s := f.session
	for i := range f.open {
		e := &f.open[i]
		deadline := s.deadline(e.written)
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
		e.late = &returnKey{it.message.MessageID.String(), it.message.Topic}
		e.item = item{}
		f.late++
		it.done(timedOut(it.message.Topic))
	}
	// Messages given up must not fill the window: a new channel owes nothing.
	if f.late > 0 && f.late >= int(f.channel.window+1)/2 {
		s.recycle(f.channel)
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
			f.returned.forget(*e.late)
			continue
		}
		if text, returned := f.returned.take(e.message); returned {
			e.done(unroutable(f.session.options.Exchange, e.message.Topic, text))
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
