package rabbitmq

import (
	"fmt"
	"time"

	"github.com/outbox-relay/outbox-relay/sinks/link"
)

// judgeOpen has the judge look at what is in flight. Messages that are late are refused,
// and topics whose messages are slow get a connection of their own. The broker is asked
// what it has taken if that cannot be told, and given up if it does not answer.
func (f *follower) judgeOpen(now time.Time) {
	s := f.session
	f.judge.Hear(s.lastHeard())
	f.judge.Pause(s.blocked.Load() != nil, s.lastResumed())
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
			break // the later ones wait as well
		}
	}
	if oldest != nil {
		f.step(f.judge.Next(oldest.written, now), oldest.topic, now)
	}
}

// noteSlow has later messages of the topic go to the connection for late topics, because
// this one was overtaken for long.
func (f *follower) noteSlow(e *entry) {
	if e.slow {
		return
	}
	e.slow = true // once: the topic may have been found to work since
	f.session.sink.late.add(e.topic)
}

// refuseLate refuses a message, unless the broker has returned it: then its confirm
// follows.
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

// step does what the judge says, where the oldest message that waits is of the topic.
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
		if f.lane.kind == lateLane {
			f.refuseOverdue(now)
			return
		}
		s.cut(fmt.Errorf("%w: messages wait for their confirms, and it was asked what it has taken", errUnresponsive))
	}
}

// noteStopped is called when the connection has ended while a question was open on the
// channel. The broker takes what is written to a channel one after the other, so if a queue
// has stopped it, that is the queue of the oldest message. Without this the next connection
// would be stopped by the same topic, and the one after it. Where the broker has stopped as
// a whole, the topic comes back with its first confirm.
func (f *follower) noteStopped() {
	if f.doubted != "" {
		f.session.sink.late.add(f.doubted)
	}
}

// takeReply takes the answer to the question. Without one, the channel has ended.
func (f *follower) takeReply(err error) {
	if err != nil && !isAnswer(err) {
		f.judge.Withdraw()
		return
	}
	now := time.Now()
	f.doubted = ""
	f.judge.Reply(now)
	f.session.hear(now)
}

// refuseOverdue refuses late topics' messages whose time is over, although the channel
// does not answer. The broker registers a channel with a quorum queue at the first message,
// and waits there for a queue that takes no commands. Another connection would wait alike,
// and would not hear the confirms of this one. A dead connection ends by itself.
func (f *follower) refuseOverdue(now time.Time) {
	for i := range f.open {
		e := &f.open[i]
		if e.message != nil && !confirmed(*e) && now.Sub(e.written) >= f.session.options.AckTimeout {
			f.refuseLate(e)
		}
	}
}
