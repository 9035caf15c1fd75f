package engine

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// The broker is away for three days. Nothing is read, written or published meanwhile, no
// attempt is counted, and then all goes on as if nothing had been. (Rule F1.)
func TestOutageOfDaysCountsNoAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scenario{T: t}
		run := s.step
		run("term", "")
		run("pass", "")
		run("chunk", "id=1 key=a\nid=2 key=b\nid=3")
		for _, r := range []relay.Ref{{ID: 1}, {ID: 2}, {ID: 3}} {
			s.sink.report(r, relay.Outcome{Class: relay.Unavailable, Type: relay.ErrorTypeDisconnected, Err: errors.New("no connection")})
		}
		s.term.takeReports()
		s.deeds = nil
		probes := 0
		for began := time.Now(); time.Since(began) < 72*time.Hour; probes++ {
			pause := <-s.term.prober.requests
			if pause > probePause.Max {
				t.Fatalf("a pause of %v", pause)
			}
			s.sleepUntil(time.Since(s.began) + pause)
			s.term.probed(errors.New("connection refused"))
		}
		if least := int(72 * time.Hour / probePause.Max); probes < least {
			t.Errorf("%d probes, want %d at least", probes, least)
		}
		for _, deed := range s.deeds {
			if deed != "warns: the broker takes no messages" && deed != "warns: no progress" {
				t.Errorf("meanwhile the relay %s", deed)
			}
		}
		if len(s.term.taken.rows) > 0 || s.asked != nil || s.term.count.Refused+s.term.count.Dead > 0 {
			t.Errorf("after the outage: %+v, %+v, %+v", s.term.taken.rows, s.asked, s.term.count)
		}
		<-s.term.prober.requests
		run("probe", "")
		run("pass", "")
		run("chunk", "id=1 key=a\nid=2 key=b\nid=3")
		run("ack 1 2 3", "")
		run("commit", "")
		if got := s.server.written["marks"]; len(got) != 3 || len(s.server.written) != 1 {
			t.Errorf("written is %v", s.server.written)
		}
	})
}
