package link

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRepeatedFailureIsLoggedAtGrowingIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		o := outage{broker: "Broker", logger: slog.New(slog.NewTextHandler(&out, nil))}
		begin := time.Now()
		var at []time.Duration
		for time.Since(begin) < time.Hour {
			before := out.Len()
			o.noteFailed(errors.New("refused"))
			if out.Len() > before {
				at = append(at, time.Since(begin).Round(time.Second))
			}
			time.Sleep(time.Second)
		}
		want := []time.Duration{0, 10 * time.Second, 30 * time.Second, 70 * time.Second, 150 * time.Second}
		if len(at) < 8 || len(at) > 14 || !slices.Equal(at[:5], want) {
			t.Errorf("logged at %v, want %v and so on", at, want)
		}
		out.Reset()
		o.logMade([]slog.Attr{slog.String("address", "h:1")})
		if text := out.String(); !strings.Contains(text, `msg="connected to Broker" address=h:1 after=1h`) {
			t.Errorf("the recovery is logged as %s", text)
		}
	})
}

func TestLossIsLoggedOnceAndCountsFromItsBeginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		o := outage{broker: "Broker", logger: slog.New(slog.NewTextHandler(&out, nil))}
		o.logMade(nil)
		if text := out.String(); strings.Contains(text, "after") {
			t.Errorf("the first connection is logged as %s", text)
		}
		out.Reset()
		o.noteLost(errors.New("reset by peer"), time.Hour)
		for range 9 {
			time.Sleep(time.Second)
			o.noteFailed(errors.New("refused"))
		}
		if text := out.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "connection to Broker lost") {
			t.Errorf("nine seconds after the loss the log is %s", text)
		}
		time.Sleep(time.Second)
		o.noteFailed(errors.New("refused"))
		if text := out.String(); !strings.Contains(text, "cannot connect to Broker, retrying") || !strings.Contains(text, "for=10s") {
			t.Errorf("ten seconds after the loss the log is %s", text)
		}
	})
}

// A broker that takes connections only to close them, or a proxy before one that is
// away: one line when that begins, others at growing intervals, one when a session
// has lasted.
func TestSessionsThatAreLostAtOnceAreOneOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const flapping = time.Hour
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, nil))
		begin := time.Now()
		s := &stage{lives: func(int) time.Duration {
			if time.Since(begin) > flapping {
				return 24 * time.Hour
			}
			return 10 * time.Millisecond
		}}
		_, stop := keep(t, s, Options{Logger: log})
		time.Sleep(flapping)
		text := out.String()
		if n := strings.Count(text, "\n"); n < 8 || n > 14 {
			t.Errorf("an hour of %d sessions is %d lines:\n%s", len(s.at), n, text)
		}
		for line, want := range map[string]int{"connected to Broker": 1, "connection to Broker lost": 1} {
			if n := strings.Count(text, line); n != want {
				t.Errorf("%q was logged %d times, want %d:\n%s", line, n, want, text)
			}
		}
		out.Reset()
		time.Sleep(time.Minute)
		synctest.Wait()
		if text := out.String(); !strings.Contains(text, `msg="connected to Broker" after=1h`) || strings.Count(text, "connected") != 1 {
			t.Errorf("the session that lasted is logged as %s", text)
		}
		stop()
	})
}

// If a session that was logged ends at once, its loss is logged too, and belongs to
// the outage before it.
func TestLastWordAboutASessionThatWasLostAtOnceIsItsLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		o := outage{broker: "Broker", logger: slog.New(slog.NewTextHandler(&out, nil))}
		o.noteLost(errors.New("reset by peer"), time.Hour)
		time.Sleep(time.Hour)
		o.noteMade(nil)()
		time.Sleep(time.Second)
		out.Reset()
		o.noteLost(errors.New("reset by peer"), time.Second)
		if text := out.String(); !strings.Contains(text, "connection to Broker lost") {
			t.Errorf("the loss is logged as %s", text)
		}
		out.Reset()
		ended := o.noteMade(nil)
		time.Sleep(pauseMax)
		synctest.Wait()
		ended()
		if text := out.String(); !strings.Contains(text, `msg="connected to Broker" after=1h0m6s`) {
			t.Errorf("the session that lasted is logged as %s", text)
		}
	})
}
