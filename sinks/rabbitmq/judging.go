package rabbitmq

import (
	"fmt"
	"time"

	"github.com/outbox-relay/outbox-relay/sinks/link"
)

// judgeOpen asks the judge about each message in flight. It refuses late messages, and
// notes the topics of slow ones as late, so that they go to the second connection. If
// the judge cannot tell what the broker has taken, it asks the broker, and gives the
// connection up if no answer comes.
func (f *follower) judgeOpen(now time.Time) {
	s := f.session
	f.judge.Hear(s.signs.lastHeard())
	f.judge.Pause(s.signs.whyBlocked() != nil, s.signs.lastResumed())
	if passed := f.channel.passedUntil(); !passed.IsZero() {
		f.judge.Answer(passed, passed)
	}
	var oldest *entry
	for i := range f.open {
		e := &f.open[i]
		if e.message == nil || confirmed(*e) {
			continue
		}
		verdict := f.judge.Of(e.written, now)
		if verdict != link.Waits {
			f.noteSlow(e)
		}
		if verdict == link.Late && f.refuseLate(e) {
			continue
		}
		if oldest == nil {
			oldest = e
		}
		if verdict == link.Waits {
			break // so do the later ones
		}
	}
	if oldest != nil {
		f.step(f.judge.Next(oldest.written, now), oldest.topic, now)
	}
}

// noteSlow notes the topic as late, because this message was overtaken for long. The
// topic's later messages then go to the connection of the late topics.
func (f *follower) noteSlow(e *entry) {
	if e.slow {
		return
	}
	e.slow = true // only once per message: the topic may work again by now
	f.session.sink.late.add(e.topic)
}

// refuseLate refuses a message. It returns false if the broker has returned the
// message: then the confirm follows.
func (f *follower) refuseLate(e *entry) bool {
	f.returned.drain(f.channel.returns)
	if f.returned.has(e.message) {
		return false
	}
	it := e.item
	e.item = item{}
	f.late++
	it.done(timedOut(e.topic))
	return true
}

// step does what the judge says. topic is that of the oldest message that waits.
func (f *follower) step(step link.Step, topic string, now time.Time) {
	s := f.session
	switch step {
	case link.StepRest:
	case link.StepAsk:
		if s.life.Start(func() { f.replies <- f.channel.ask() }) {
			f.judge.Asked(now)
			f.doubted = topic
		}
	case link.StepGiveUp:
		if f.outlet.writer.kind == lateWriter {
			f.refuseOverdue(now)
			return
		}
		s.cut(fmt.Errorf("%w: messages wait for their confirms, and it was asked what it has taken", errUnresponsive))
	}
}

// noteStopped is called when the connection has ended while a question was open on the
// channel. The broker takes the messages of a channel one after the other. So if a
// queue has stopped the channel, it is the queue of the oldest message, whose topic is
// now noted as late. Otherwise the same topic would stop each further connection. If
// the whole broker has stopped, the topic is late only until its first confirm.
func (f *follower) noteStopped() {
	if f.doubted != "" {
		f.session.sink.late.add(f.doubted)
	}
}

// takeReply handles the answer to the question. If there is no answer, the channel has
// ended.
func (f *follower) takeReply(err error) {
	if err != nil && !isAnswer(err) {
		f.judge.Withdraw()
		return
	}
	now := time.Now()
	f.doubted = ""
	f.judge.Reply(now)
	f.session.signs.hear(now)
}

// refuseOverdue refuses messages of late topics whose time is over, although the
// channel does not answer. At the first message the broker registers the channel with
// the quorum queue, and if that queue takes no commands, the channel waits there. A new
// connection would wait too, and would not get the confirms of this one. If the
// connection is dead, other checks end it.
func (f *follower) refuseOverdue(now time.Time) {
	for i := range f.open {
		e := &f.open[i]
		if e.message != nil && !confirmed(*e) && now.Sub(e.written) >= f.session.options.AckTimeout {
			f.refuseLate(e)
		}
	}
}
