package admin

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// level is how bad something is.
type level string

// The levels.
const (
	levelGood level = "good"
	levelWarn level = "warn" // somebody should look at it
	levelBad  level = "bad"  // rows do not flow
)

// trouble is one thing that is wrong.
type trouble struct {
	Level level      `json:"level"`
	Text  string     `json:"text"`  // one sentence
	Cause string     `json:"cause"` // the words of the server or of the relay; may be empty
	Since *time.Time `json:"since"`
}

// scene is what the sentences are made of.
type scene struct {
	now       time.Time
	broker    string
	status    relay.Status
	census    relay.Census
	perSecond float64
	notLive   string
}

// state is what the relay does, in one sentence.
func (s scene) state() string {
	st := s.status
	switch st.Mode {
	case relay.Connecting:
		return "Connecting to the database."
	case relay.StandingBy:
		for _, m := range s.census.Members {
			if m.Leads && m.Relay {
				return "Standing by. The relay on " + relay.OneLine(m.Name) + " leads."
			}
		}
		return "Standing by for the relay that leads."
	case relay.Polling, relay.Tailing:
	}
	doing := map[relay.Mode]string{relay.Polling: "Polling", relay.Tailing: "Tailing"}[st.Mode]
	rate := "no messages now"
	if s.perSecond > 0 {
		rate = rateText(s.perSecond)
	}
	return fmt.Sprintf("%s. %s%s.", doing, upper(rate), s.waiting(", "))
}

// waiting is how many rows wait, after the words before; empty while nothing was counted.
func (s scene) waiting(before string) string {
	switch {
	case s.census.At.IsZero():
		return ""
	case s.census.Due.Rows == 0:
		return before + "no row waits"
	}
	return fmt.Sprintf("%s%s %s, the oldest for %s", before, rowsText(s.census.Due), waitsText(s.census.Due), spanText(s.census.OldestAgeAt(s.now)))
}

// troubles are what is wrong, the worst first.
func (s scene) troubles() []trouble {
	all := []trouble{}
	add := func(is bool, l level, text, cause string, since time.Time) {
		if is {
			all = append(all, trouble{l, text, cause, known(since)})
		}
	}
	st, ago := s.status, func(at time.Time) string { return spanText(s.now.Sub(at)) }
	add(s.notLive != "", levelBad, "The relay hangs. A restart may help.", s.notLive, time.Time{})
	add(st.Foreign != "", levelBad, "The table belongs to another environment: nothing of it is published.", st.Foreign, time.Time{})
	add(st.Foreign == "" && st.Mode == relay.Connecting && s.now.Sub(st.Since) > connectingTold, levelBad,
		"The relay has had no session with the database for "+ago(st.Since)+"; rows wait in the table; nothing is lost.", st.Reason, st.Since)
	add(st.NoRelayLeads, levelBad, "No relay leads: something else holds the lock.", st.Reason, st.Since)
	add(st.SinkDown != "", levelBad, s.broker+" has taken no messages for "+ago(st.SinkDownSince)+s.waitingBriefly()+"; nothing is lost.", st.SinkDown, st.SinkDownSince)
	add(st.TableDown != "", levelBad, "No row can be marked as sent, for "+ago(st.TableDownSince)+
		"; a row is published now and then to see whether that is over; nothing is lost.", st.TableDown, st.TableDownSince)
	add(st.Stalled != "" && st.SinkDown == "" && st.TableDown == "", levelBad,
		"Due rows have made no progress for "+ago(st.StalledSince)+s.waitingBriefly()+"; nothing is lost.", st.Stalled, st.StalledSince)
	add(st.Pause.On(), levelWarn, "Paused for "+ago(st.Pause.Since)+s.waitingBriefly()+"; nothing is lost.", st.Pause.Reason, st.Pause.Since)
	add(st.Doubt != "", levelWarn, "The table may be a copy.", st.Doubt, time.Time{})
	add(st.Unmarkable > 0, levelWarn, plural(st.Unmarkable, "row")+" cannot be marked: PostgreSQL refuses it; the others go on.", "", time.Time{})
	add(st.Locked > 0, levelWarn, plural(st.Locked, "published row")+" cannot be marked yet: other sessions have locked them.", "", st.LockedSince)
	add(st.LateTopics > 0, levelWarn, "Messages of "+plural(st.LateTopics, "topic")+" come late; their other rows wait in the table.", "", time.Time{})
	add(s.census.Dead.Rows > 0, levelWarn, rowsText(s.census.Dead)+deadText(s.census.Dead), "", time.Time{})
	add(st.NotPurged != "", levelWarn, "Sent rows have not been deleted for "+ago(st.NotPurgedSince)+", so the table grows; delivery goes on.", st.NotPurged, st.NotPurgedSince)
	add(s.census.Partitions != "", levelWarn, "The table's partitions need attention.", s.census.Partitions, time.Time{})
	if s.census.Err != nil {
		add(true, levelWarn, "The rows have not been counted for "+ago(s.census.FailingSince)+".", s.census.Err.Error(), s.census.FailingSince)
	}
	add(st.Mode == relay.Polling && st.Reason != "" && st.SinkDown == "", levelWarn,
		"The relay polls and does not read the log, so rows take longer.", st.Reason, st.Since)
	return all
}

// connectingTold is after how long a missing session is told: a start takes a moment.
const connectingTold = 3 * time.Second

func (s scene) waitingBriefly() string {
	if s.census.Due.Rows == 0 {
		return ""
	}
	return "; " + rowsText(s.census.Due) + " " + waitsText(s.census.Due)
}

func deadText(c relay.Count) string {
	if c.Rows == 1 && !c.More {
		return " is dead, and waits for a person."
	}
	return " are dead, and wait for a person."
}

func waitsText(c relay.Count) string {
	if c.Rows == 1 && !c.More {
		return "waits"
	}
	return "wait"
}

// rowsText is "about 18,204 rows".
func rowsText(c relay.Count) string {
	text := plural(int(c.Rows), "row")
	switch {
	case c.More:
		return "more than " + text
	case c.Estimated:
		return "about " + text
	}
	return text
}

func rateText(perSecond float64) string {
	if perSecond < 10 {
		return strconv.FormatFloat(perSecond, 'f', 1, 64) + " messages a second"
	}
	return grouped(int(perSecond+0.5)) + " messages a second"
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return grouped(n) + " " + what + "s"
}

// grouped is a number with commas between groups of three digits.
func grouped(n int) string {
	text := strconv.Itoa(n)
	for at := len(text) - 3; at > 0 && text[at-1] != '-'; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}

// spanText is a length of time as people say it: 3 ms, 42 s, 5 min 3 s, 2 h 5 min, 3 d 2 h.
func spanText(d time.Duration) string {
	d = max(0, d)
	two := func(a time.Duration, first string, b time.Duration, second string) string {
		text := fmt.Sprintf("%d %s", d/a, first)
		if rest := d % a / b; rest > 0 {
			text += fmt.Sprintf(" %d %s", rest, second)
		}
		return text
	}
	const day = 24 * time.Hour
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return two(time.Minute, "min", time.Second, "s")
	case d < day:
		return two(time.Hour, "h", time.Minute, "min")
	}
	return two(day, "d", time.Hour, "h")
}

func upper(text string) string { return strings.ToUpper(text[:1]) + text[1:] }
