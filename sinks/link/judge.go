package link

import (
	"fmt"
	"time"
)

// Verdict is what is known of a message that waits for its acknowledgement.
type Verdict uint8

// The verdicts.
const (
	Waits Verdict = iota // its time is not over, or nothing shows that it could have been acknowledged
	Slow                 // later messages were acknowledged before it: its topic takes no messages, or few
	Late                 // its time is over, and the broker has worked since: refuse it
)

var verdictNames = [...]string{"waits", "slow", "late"}

// String returns the verdict in lower case.
func (v Verdict) String() string {
	if int(v) >= len(verdictNames) {
		return fmt.Sprintf("verdict(%d)", uint8(v))
	}
	return verdictNames[v]
}

// Step is what to do about the broker.
type Step uint8

// The steps.
const (
	StepRest   Step = iota // nothing
	StepAsk                // put a question to the broker, on the same channel
	StepGiveUp             // end the connection: the broker answers nothing
)

var stepNames = [...]string{"rest", "ask", "give up"}

// String returns the step in lower case.
func (s Step) String() string {
	if int(s) >= len(stepNames) {
		return fmt.Sprintf("step(%d)", uint8(s))
	}
	return stepNames[s]
}

// Judge decides about the messages on one channel: which are late, what shows that
// the broker works, and when to ask it. A channel is a line on which the broker takes
// what is written in order. It has no I/O and no clock: times are passed in, those of
// one clock. It is for one goroutine.
//
// What was answered on the channel shows that the broker has taken everything before
// it. Nothing else shows that: a broker that reads the connection no more, because of
// one queue, still answers elsewhere. So a message is late only if something was
// answered that was written after the message's time was over. That a message was
// overtaken makes it slow, which costs it nothing but its place.
type Judge struct {
	limit time.Duration

	answered time.Time // when the newest of what was answered was written or asked
	heard    time.Time // when the connection last brought an answer, on any channel
	asked    time.Time // when the open question was put; zero: none is open
	paused   bool      // the broker has said that it takes nothing
	resumed  time.Time // when it said that it takes messages again
}

// answerTime is how long a question may be open while nothing at all is heard.
const answerTime = 5 * time.Second

// NewJudge returns the judge of a channel. A message may wait for its acknowledgement
// for as long as limit, which is above 0.
func NewJudge(limit time.Duration) *Judge { return &Judge{limit: limit} }

// Patience is how long a message may be overtaken before it is slow, where it may
// wait for limit.
func Patience(limit time.Duration) time.Duration { return limit / 3 }

// Answer notes that the broker has answered, now, what was written or asked at that
// time. It may have answered something newer before.
func (j *Judge) Answer(written, now time.Time) {
	j.Hear(now)
	if written.After(j.answered) {
		j.answered = written
	}
}

// Hear notes that the connection brought an answer at that time, on another channel.
func (j *Judge) Hear(at time.Time) {
	if at.After(j.heard) {
		j.heard = at
	}
}

// Asked notes that the question is put now.
func (j *Judge) Asked(now time.Time) { j.asked = now }

// Reply notes that the question was answered. To refuse or to deny it is an answer.
func (j *Judge) Reply(now time.Time) {
	if !j.asked.IsZero() {
		j.Answer(j.asked, now)
		j.asked = time.Time{}
	}
}

// Withdraw notes that the question could not be put, or that nobody waits for its
// answer. That shows nothing.
func (j *Judge) Withdraw() { j.asked = time.Time{} }

// Pause says whether the broker takes nothing at the moment, by its own word, and when
// it last said that it takes messages again. No time passes while it takes nothing.
func (j *Judge) Pause(paused bool, resumed time.Time) { j.paused, j.resumed = paused, resumed }

// since is when the time of what was written at that time began.
func (j *Judge) since(written time.Time) time.Time {
	if j.resumed.After(written) {
		return j.resumed
	}
	return written
}

// Of judges a message that was written then. Of two messages, the verdict on the one
// written later is not worse.
func (j *Judge) Of(written, now time.Time) Verdict {
	since := j.since(written)
	deadline := since.Add(j.limit)
	switch {
	case j.paused:
		return Waits
	case !now.Before(deadline) && !j.answered.Before(deadline):
		return Late
	case !now.Before(since.Add(Patience(j.limit))) && j.answered.After(written):
		return Slow
	}
	return Waits
}

// Next returns what to do, where the oldest message that waits was written then.
func (j *Judge) Next(oldest, now time.Time) Step {
	if j.paused {
		return StepRest
	}
	if !j.asked.IsZero() {
		since := j.since(j.asked)
		silent := now.Sub(since) >= min(answerTime, j.limit) && !j.heard.After(since)
		if silent || now.Sub(since) >= max(answerTime, j.limit) {
			return StepGiveUp
		}
		return StepRest
	}
	since := j.since(oldest)
	deadline, slow := since.Add(j.limit), since.Add(Patience(j.limit))
	switch {
	case !now.Before(deadline) && j.answered.Before(deadline):
		return StepAsk
	// A queue that takes no commands makes the broker stop reading the connection. Then
	// all wait behind it, and the sooner that is known the better.
	case j.Of(oldest, now) == Slow && j.answered.Before(slow):
		return StepAsk
	}
	return StepRest
}

// valid says whether the fields agree, for tests.
func (j *Judge) valid() bool { return j.limit > 0 && !j.answered.After(j.heard) }
