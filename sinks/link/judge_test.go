package link

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// history is a dumb model of a judge: it keeps all that happened, and looks through
// all of it for each question.
type history struct {
	limit   time.Duration
	answers []answerEvent
	heard   []time.Time
	asked   []time.Time // open questions: one at most
	pauses  []pauseEvent
}

type answerEvent struct{ written, at time.Time }

type pauseEvent struct {
	at   time.Time
	ends bool
}

func (h *history) paused() bool { return len(h.pauses) > 0 && !h.pauses[len(h.pauses)-1].ends }

// begin is the later of the time and the last resumption.
func (h *history) begin(at time.Time) time.Time {
	for _, p := range h.pauses {
		if p.ends && p.at.After(at) {
			at = p.at
		}
	}
	return at
}

// answeredFrom says whether something was answered that was written then or later.
func (h *history) answeredFrom(from time.Time) bool {
	for _, a := range h.answers {
		if !a.written.Before(from) {
			return true
		}
	}
	return false
}

func (h *history) heardAfter(after time.Time) bool {
	for _, a := range h.answers {
		if a.at.After(after) {
			return true
		}
	}
	for _, at := range h.heard {
		if at.After(after) {
			return true
		}
	}
	return false
}

func (h *history) of(written, now time.Time) Verdict {
	waited := now.Sub(h.begin(written))
	switch {
	case h.paused():
		return Waits
	case waited >= h.limit && h.answeredFrom(h.begin(written).Add(h.limit)):
		return Late
	case waited >= h.limit/3 && h.answeredFrom(written.Add(1)):
		return Slow
	}
	return Waits
}

func (h *history) next(oldest, now time.Time) Step {
	if h.paused() {
		return StepRest
	}
	if len(h.asked) > 0 {
		begin := h.begin(h.asked[0])
		open := now.Sub(begin)
		if open >= max(answerTime, h.limit) || open >= min(answerTime, h.limit) && !h.heardAfter(begin) {
			return StepGiveUp
		}
		return StepRest
	}
	waited, begin := now.Sub(h.begin(oldest)), h.begin(oldest)
	overdue := waited >= h.limit && !h.answeredFrom(begin.Add(h.limit))
	slow := h.of(oldest, now) == Slow && !h.answeredFrom(begin.Add(h.limit/3))
	if overdue || slow {
		return StepAsk
	}
	return StepRest
}

// Random schedules of messages, answers in any order, questions, pauses and silence.
func TestJudgeAgreesWithModel(t *testing.T) {
	t.Parallel()
	seen := map[string]int{}
	for seed := range uint64(3000) {
		playJudge(t, seed, seen)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	for _, want := range []string{"waits", "slow", "late", "rest", "ask", "give up"} {
		if seen[want] < 100 {
			t.Errorf("%q was decided %d times: the schedules test too little", want, seen[want])
		}
	}
}

func playJudge(t *testing.T, seed uint64, seen map[string]int) {
	r := rand.New(rand.NewPCG(seed, 1))
	limit := []time.Duration{3 * time.Second, 15 * time.Second}[r.IntN(2)]
	j, h := NewJudge(limit), &history{limit: limit}
	now := time.Unix(1_700_000_000, 0)
	var waiting []time.Time // when they were written, in order
	for range 60 {
		now = now.Add(time.Duration(r.Int64N(int64(limit / 4))))
		switch r.IntN(9) {
		case 0, 1:
			waiting = append(waiting, now)
		case 2, 3:
			if len(waiting) > 0 {
				i := r.IntN(len(waiting))
				j.Answer(waiting[i], now)
				h.answers = append(h.answers, answerEvent{waiting[i], now})
				waiting = append(waiting[:i], waiting[i+1:]...)
			}
		case 4:
			j.Hear(now)
			h.heard = append(h.heard, now)
		case 5:
			if len(h.asked) == 0 {
				j.Asked(now)
				h.asked = append(h.asked, now)
			}
		case 6:
			if len(h.asked) > 0 {
				h.answers = append(h.answers, answerEvent{h.asked[0], now})
			}
			j.Reply(now)
			h.asked = nil
		case 7:
			j.Withdraw()
			h.asked = nil
		case 8:
			h.pauses = append(h.pauses, pauseEvent{now, h.paused()})
			j.Pause(h.paused(), h.begin(time.Time{}))
		}
		compareJudges(t, j, h, waiting, now, seen)
	}
}

func compareJudges(t *testing.T, j *Judge, h *history, waiting []time.Time, now time.Time, seen map[string]int) {
	t.Helper()
	if !j.valid() {
		t.Errorf("the judge is not valid: %+v", *j)
	}
	worst := Late
	for i, written := range waiting {
		got, want := j.Of(written, now), h.of(written, now)
		seen[got.String()]++
		if got != want {
			t.Errorf("message %d, written %v ago, is %s, want %s", i, now.Sub(written), got, want)
		}
		if got > worst {
			t.Errorf("message %d is %s, and an earlier one %s", i, got, worst)
		}
		worst = got
	}
	if len(waiting) == 0 {
		return
	}
	got, want := j.Next(waiting[0], now), h.next(waiting[0], now)
	seen[got.String()]++
	if got != want {
		t.Errorf("the next step is to %s, want %s", got, want)
	}
}

// A queue takes no commands, and the broker stops reading. Messages that were overtaken
// before that are slow. Messages that were not even read are not late, however long it
// takes.
func TestMessageBehindAStoppedQueueIsNotLate(t *testing.T) {
	t.Parallel()
	began := time.Unix(1_700_000_000, 0)
	at := func(d time.Duration) time.Time { return began.Add(d) }
	j := NewJudge(15 * time.Second)
	silent, good, behind := at(0), at(10*time.Millisecond), at(20*time.Millisecond)
	j.Answer(good, at(12*time.Millisecond))
	for _, c := range []struct {
		at             time.Duration
		silent, behind Verdict
		step           Step
	}{
		{time.Second, Waits, Waits, StepRest},
		{5 * time.Second, Slow, Waits, StepAsk},
		{9 * time.Second, Slow, Waits, StepRest},
		{10 * time.Second, Slow, Waits, StepGiveUp},
	} {
		now := at(c.at)
		if got := j.Of(silent, now); got != c.silent {
			t.Errorf("after %v the overtaken message is %s, want %s", c.at, got, c.silent)
		}
		if got := j.Of(behind, now); got != c.behind {
			t.Errorf("after %v the message behind is %s, want %s", c.at, got, c.behind)
		}
		step := j.Next(silent, now)
		if step != c.step {
			t.Errorf("after %v the step is to %s, want %s", c.at, step, c.step)
		}
		if step == StepAsk {
			j.Asked(now)
		}
	}
}

// A refusal of the question is an answer too.
func TestDeniedQuestionIsASignOfLife(t *testing.T) {
	t.Parallel()
	began := time.Unix(1_700_000_000, 0)
	j := NewJudge(3 * time.Second)
	now := began.Add(3 * time.Second)
	if got := j.Next(began, now); got != StepAsk {
		t.Fatalf("the step is to %s", got)
	}
	j.Asked(now)
	j.Reply(now.Add(time.Millisecond)) // whatever it was
	if got := j.Of(began, now.Add(time.Second)); got != Late {
		t.Errorf("the message is %s, want late", got)
	}
}

func TestNamesOfVerdictsAndSteps(t *testing.T) {
	t.Parallel()
	got := fmt.Sprint(Waits, Slow, Late, Verdict(9), StepRest, StepAsk, StepGiveUp, Step(9))
	if want := "waits slow late verdict(9) rest ask give up step(9)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
