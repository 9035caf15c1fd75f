package link

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestAwaitHasAConnectionAttemptedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{down: true}
		l, stop := keep(t, s, Options{})
		defer stop()
		time.Sleep(time.Minute) // pauses are long by now
		synctest.Wait()
		before := len(s.at)
		begin := time.Now()
		if _, err := l.Await(t.Context()); err == nil || err.Error() != "connect to Broker at h:1: refused" {
			t.Errorf("await says %v", err)
		}
		synctest.Wait()
		if len(s.at) != before+1 || time.Since(begin) > 0 {
			t.Errorf("%d attempts within %s", len(s.at)-before, time.Since(begin))
		}
		s.down = false
		if got, err := l.Await(t.Context()); err != nil || got.n != before+2 {
			t.Errorf("await returns %v (%v)", got, err)
		}
		if got, err := l.Await(t.Context()); err != nil || got.n != before+2 {
			t.Errorf("await of a session that is there returns %v (%v)", got, err)
		}
	})
}

func TestAwaitEndsWithItsContext(t *testing.T) {
	l := New[*session](Options{Broker: "Broker", Servers: "h:1"}) // and nobody keeps it
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got, err := l.Await(ctx)
	if got != nil || !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "last: connect to Broker at h:1: not connected yet") {
		t.Errorf("await returns %v (%v)", got, err)
	}
}

func TestAwaitAfterTheEndReturnsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, stop := keep(t, &stage{}, Options{})
		stop()
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if got, err := l.Await(ctx); got != nil || !errors.Is(err, ErrClosed) || time.Since(begin) > 0 {
			t.Errorf("after %s await returns %v (%v)", time.Since(begin), got, err)
		}
	})
}

func TestLostSessionIsNotTheCurrentOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{lives: func(int) time.Duration { return time.Minute }}
		l, stop := keep(t, s, Options{})
		defer stop()
		time.Sleep(time.Minute)
		synctest.Wait()
		if got, err := l.Current(); got != nil || !errors.Is(err, errLost) {
			t.Errorf("the session is %v (%v)", got, err)
		}
		time.Sleep(pauseMin)
		synctest.Wait()
		if got, err := l.Current(); err != nil || got.n != 2 {
			t.Errorf("the next session is %v (%v)", got, err)
		}
	})
}
