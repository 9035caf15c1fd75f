package link

import (
	"fmt"
	"time"
)

// Verdict is what is known of a message that waits for its acknowledgement.
type Verdict uint8

// The verdicts.
const (
	Waits Verdict = iota // its time is not over, or nothing shows that the broker could have acknowledged it
	Slow                 // later messages were acknowledged before it: send no more messages of its topic, or few
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

// Judge decides about the messages on one channel: which are late, what shows that the
// broker works, and when to ask it. A channel is a line on which the broker takes what
// is written in order. The judge has no I/O and no clock: the caller passes times of
// one clock. It is for one goroutine.
//
// An answer on the channel shows that the broker has taken everything that was written
// before what it answers. Nothing else shows that: a broker that has stopped reading
// the connection, because of one queue, still answers on others. So a message is late
// only if the broker has answered something that was written after the message's time
// was over. A message that was only overtaken is slow: it is not refused, but its topic
// gets less room.
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

// NewJudge returns the judge of a channel. limit is how long a message may wait for its
// acknowledgement, above 0.
func NewJudge(limit time.Duration) *Judge { return &Judge{limit: limit} }

// Patience is how long a message may be overtaken before it is slow, if it may wait for
// limit.
func Patience(limit time.Duration) time.Duration { return limit / 3 }

// Answer notes that the broker has now answered what was written or asked at that time.
// Answers may come out of order.
func (j *Judge) Answer(written, now time.Time) {
	j.Hear(now)
	if written.After(j.answered) {
		j.answered = written
	}
}

// Hear notes that an answer came at that time over the connection, on any channel.
func (j *Judge) Hear(at time.Time) {
	if at.After(j.heard) {
		j.heard = at
	}
}

// Asked notes that the question is put now.
func (j *Judge) Asked(now time.Time) { j.asked = now }

// Reply notes that the question was answered. A refusal of the question is an answer
// too.
func (j *Judge) Reply(now time.Time) {
	if !j.asked.IsZero() {
		j.Answer(j.asked, now)
		j.asked = time.Time{}
	}
}

// Withdraw notes that the question could not be put, or that nobody waits for its
// answer any more. That shows nothing about the broker.
func (j *Judge) Withdraw() { j.asked = time.Time{} }

// Pause notes whether the broker has said that it takes nothing at the moment, and when
// it last said that it takes messages again. While it takes nothing, no time counts.
func (j *Judge) Pause(paused bool, resumed time.Time) { j.paused, j.resumed = paused, resumed }

// since returns when the time began to count for what was written at that time.
func (j *Judge) since(written time.Time) time.Time {
	if j.resumed.After(written) {
		return j.resumed
	}
	return written
}

// Of judges a message that was written then. A message never gets a worse verdict than
// one that was written before it.
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

// Next returns what to do if the oldest message that waits was written then.
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
	// everything waits behind that queue, so find out as soon as possible.
	case j.Of(oldest, now) == Slow && j.answered.Before(slow):
		return StepAsk
	}
	return StepRest
}

// valid says whether the fields agree, for tests.
func (j *Judge) valid() bool { return j.limit > 0 && !j.answered.After(j.heard) }
