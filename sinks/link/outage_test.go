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
		o := outage{broker: "Broker", log: slog.New(slog.NewTextHandler(&out, nil))}
		begin := time.Now()
		var at []time.Duration
		for time.Since(begin) < time.Hour {
			before := out.Len()
			o.failed(errors.New("refused"))
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
		o.over([]slog.Attr{slog.String("address", "h:1")})
		if text := out.String(); !strings.Contains(text, `msg="connected to Broker" address=h:1 after=1h`) {
			t.Errorf("the recovery is logged as %s", text)
		}
	})
}

func TestLossIsLoggedOnceAndCountsFromItsBeginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		o := outage{broker: "Broker", log: slog.New(slog.NewTextHandler(&out, nil))}
		o.over(nil)
		if text := out.String(); strings.Contains(text, "after") {
			t.Errorf("the first connection is logged as %s", text)
		}
		out.Reset()
		o.lost(errors.New("reset by peer"))
		for range 9 {
			time.Sleep(time.Second)
			o.failed(errors.New("refused"))
		}
		if text := out.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "connection to Broker lost") {
			t.Errorf("nine seconds after the loss the log is %s", text)
		}
		time.Sleep(time.Second)
		o.failed(errors.New("refused"))
		if text := out.String(); !strings.Contains(text, "cannot connect to Broker, trying on") || !strings.Contains(text, "for=10s") {
			t.Errorf("ten seconds after the loss the log is %s", text)
		}
	})
}
