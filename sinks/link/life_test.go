package link

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestFirstCauseOfALossWins(t *testing.T) {
	told := errors.New("told by the library")
	l := NewLife("Broker at h:1")
	for _, c := range []struct {
		cause, told error
		want        string
	}{
		{nil, nil, "connection to Broker at h:1 lost: closed by the broker"},
		{nil, told, "connection to Broker at h:1 lost: told by the library"},
		{errLost, told, "connection to Broker at h:1 lost: lost"},
		{ErrClosed, told, "connection to Broker at h:1 lost: lost"},
	} {
		if c.cause != nil {
			l.Fail(c.cause)
		}
		if err := l.Lost(c.told); err.Error() != c.want {
			t.Errorf("after %v: %q, want %q", c.cause, err, c.want)
		}
	}
	if err := l.Lost(nil); !errors.Is(err, errLost) {
		t.Errorf("%v does not wrap its cause", err)
	}
}

func TestQuestionIsWaitedForUntilItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLife("Broker")
		got, err := Ask(t.Context(), l, func(context.Context) (int, error) { return 7, errLost })
		if got != 7 || !errors.Is(err, errLost) {
			t.Errorf("the answer is %d (%v)", got, err)
		}

		closed := make(chan struct{}) // the connection; the library heeds nothing else
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err = Ask(ctx, l, func(context.Context) (int, error) { <-closed; return 7, nil })
		if took := time.Since(began); took != time.Second || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after %s the answer is %v", took, err)
		}

		ctx, interrupt := context.WithCancelCause(t.Context())
		interrupt(errLost)
		if _, err := Ask(ctx, l, func(context.Context) (int, error) { <-closed; return 7, nil }); !errors.Is(err, errLost) {
			t.Errorf("a question that was cut short says %v", err)
		}
		close(closed)
		l.End()
	})
}

func TestEndWaitsForQuestionsAndStartsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLife("Broker")
		closed, ended := make(chan struct{}), make(chan struct{})
		if !l.Start(func() { <-closed }) {
			t.Fatal("a session that lives starts no question")
		}
		go func() {
			defer close(ended)
			l.End()
		}()
		synctest.Wait()
		select {
		case <-ended:
			t.Error("the end did not wait for a question")
		default:
		}
		_, err := Ask(t.Context(), l, func(context.Context) (int, error) {
			t.Error("a session that ends starts a question")
			return 0, nil
		})
		if !errors.Is(err, ErrEnded) {
			t.Errorf("the answer is %v", err)
		}
		close(closed)
		<-ended
	})
}

func TestWatchIntervalIsBounded(t *testing.T) {
	for timeout, want := range map[time.Duration]time.Duration{
		time.Millisecond: 5 * time.Millisecond, 2 * time.Second: 100 * time.Millisecond, time.Minute: 250 * time.Millisecond,
	} {
		if got := WatchInterval(timeout); got != want {
			t.Errorf("%s for a timeout of %s, want %s", got, timeout, want)
		}
	}
}
