package link

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// session is number n of a test.
type session struct{ n int }

var errLost = errors.New("lost")

// stage is a broker. All its times are since the
// test's beginning, by the clock of synctest.
type stage struct {
	began time.Time
	takes time.Duration // each attempt
	down  bool
	lives func(n int) time.Duration // of session n; nil: for ever
	at    []time.Duration           // of the attempts
	ended []int
}

func (s *stage) Connect(context.Context) (*session, error) {
	s.at = append(s.at, time.Since(s.began))
	time.Sleep(s.takes)
	if s.down {
		return nil, errors.New("refused")
	}
	return &session{len(s.at)}, nil
}

func (s *stage) Describe(*session) []slog.Attr { return nil }

func (s *stage) Serve(ctx context.Context, x *session) error {
	var over <-chan time.Time
	if s.lives != nil {
		over = time.After(s.lives(x.n))
	}
	select {
	case <-over:
	case <-ctx.Done():
	}
	return errLost
}

func (s *stage) End(x *session) { s.ended = append(s.ended, x.n) }

// linkTo returns a link to the stage, whose time begins now.
func linkTo(s *stage, o Options) *Link[*session] {
	o.Broker, o.Servers = "Broker", "h:1"
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s.began = time.Now()
	return New[*session](o)
}

// keepFor runs Keep on the stage for so long.
func keepFor(t *testing.T, s *stage, d time.Duration) *Link[*session] {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	l := linkTo(s, Options{})
	l.Keep(ctx, s)
	return l
}

// keep runs Keep on the stage until the returned function is called.
func keep(t *testing.T, s *stage, o Options) (l *Link[*session], stop func()) {
	t.Helper()
	l = linkTo(s, o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.Keep(ctx, s)
	}()
	return l, func() { cancel(); <-done }
}

func TestPausesGrowAndStayBounded(t *testing.T) {
	for failures := range 100 {
		for range 20 {
			d := pause(failures)
			if d < pauseMin/2 || d > pauseMax || failures > 10 && d < pauseMax/2 {
				t.Fatalf("pause after %d failures is %s", failures+1, d)
			}
		}
	}
}

// A minute of attempts at pauses of 2.5 to 5 seconds, and those before them.
const fewest, most = 60/5 + 2, 60*2/5 + 7

// Somebody asks for a connection while one is being made. That request is over then:
// after a loss much later, the next connection is made after a pause, because otherwise
// many relays would connect at once.
func TestQuestionDuringAnAttemptIsAnsweredByIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// The first lives long enough for no growing pause, the second for ever.
		s := &stage{takes: time.Second, lives: func(n int) time.Duration { return time.Duration(n) * time.Hour }}
		l, stop := keep(t, s, Options{})
		time.Sleep(s.takes / 2)
		if _, err := l.Await(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour + time.Minute)
		stop()
		if len(s.at) != 2 || s.at[1] == time.Hour+s.takes {
			t.Errorf("attempts at %v, want a pause before the second", s.at)
		}
	})
}

func TestBrokerThatIsDownIsTriedEverMoreSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{down: true}
		l := keepFor(t, s, time.Minute)
		if n := len(s.at); n < fewest || n > most {
			t.Errorf("%d attempts in a minute: %v", n, s.at)
		}
		if _, err := l.Current(); !errors.Is(err, ErrClosed) {
			t.Errorf("after the end there is no session because of %v", err)
		}
	})
}

func TestSessionsThatEndAtOnceAreMadeEverMoreSlowly(t *testing.T) {
	for name, life := range map[string]time.Duration{"at once": 0, "soon": 10 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			s := &stage{lives: func(int) time.Duration { return life }}
			keepFor(t, s, time.Minute)
			if n := len(s.at); n < fewest || n > most {
				t.Errorf("%s: %d sessions in a minute: %v", name, n, s.at)
			}
		})
	}
}

func TestSessionThatLivedIsReplacedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const life = 10 * time.Second
		s := &stage{lives: func(n int) time.Duration {
			if n == 20 {
				return life
			}
			return 0
		}}
		keepFor(t, s, 10*time.Minute)
		if pause := s.at[20] - s.at[19] - life; pause >= pauseMin {
			t.Errorf("after a session of %s there was none for %s", life, pause)
		}
		if pause := s.at[21] - s.at[20]; pause > pauseMin {
			t.Errorf("the first session after it that ended at once had a pause of %s", pause)
		}
	})
}

func TestKeepEndsWithItsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{}
		var told int
		l, stop := keep(t, s, Options{Changed: func() { told++ }})
		synctest.Wait()
		if got, err := l.Current(); err != nil || got.n != 1 {
			t.Fatalf("the session is %v (%v)", got, err)
		}
		stop()
		if got, err := l.Current(); got != nil || !errors.Is(err, ErrClosed) {
			t.Errorf("after the end the session is %v (%v)", got, err)
		}
		if !slices.Equal(s.ended, []int{1}) {
			t.Errorf("sessions %v were ended", s.ended)
		}
		if told != 3 { // made, lost, closed
			t.Errorf("%d changes were told", told)
		}
	})
}
