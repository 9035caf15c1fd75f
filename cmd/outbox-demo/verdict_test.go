package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// sound is the history of four clicks of two links, of which the second's
// message was sent again after the relay's kill.
func sound() (history, claims) {
	var h history
	for i, at := range []click{{code: "a", seq: 1}, {code: "b", seq: 1}, {code: "a", seq: 2}, {code: "b", seq: 2}} {
		at.id = fmt.Sprintf("click %d", i+1)
		id := fmt.Sprintf("message %d", i+1)
		h.clicks = append(h.clicks, at)
		h.outbox = append(h.outbox, row{messageID: id, click: at, sent: true})
		h.counted = append(h.counted, effect{messageID: id, click: at})
		h.stream = append(h.stream, id)
	}
	h.rolledBack = 3
	h.stream = append(h.stream, "message 2")
	h.dropped = []string{"message 2"}
	return h, claims{clicks: 4, rolledBack: 3, minRolledBack: 2, unmarked: []string{"message 2"}}
}

func TestSoundHistoryIsAccepted(t *testing.T) {
	v := judge(sound())
	if len(v.faults) != 0 {
		t.Errorf("faults: %q", v.faults)
	}
	want := "demo: written=4 rolled_back=3 consumed=4 marked=4 redelivered=1 duplicates=0 lost=0 order_violations=0"
	if got := v.String(); got != want {
		t.Errorf("line:\n%s\nwant:\n%s", got, want)
	}
}

func TestCopiesThatOnlyTheBrokerDeliversAgainAreAccepted(t *testing.T) {
	h, c := sound()
	h.dropped = append(h.dropped, "message 4")
	v := judge(h, c)
	if len(v.faults) != 0 || v.redelivered != 2 || v.copies != 1 {
		t.Errorf("redelivered %d, copies %d, faults %q; want 2, 1 and none", v.redelivered, v.copies, v.faults)
	}
}

func TestBrokenHistoryIsRefused(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*history, *claims)
		line   string // what the last line must say, if it is to differ
		fault  string // the one reason that must be given
	}{
		{"a click never reached the consumer", func(h *history, _ *claims) {
			h.counted = h.counted[:3]
		}, "consumed=3 marked=4 redelivered=1 duplicates=0 lost=1", "1 clicks lost"},
		{"an effect happened twice under one message id", func(h *history, _ *claims) {
			h.counted = append(h.counted, h.counted[0])
		}, "consumed=4 marked=4 redelivered=1 duplicates=1", "1 clicks counted again"},
		{"an effect happened twice under two message ids", func(h *history, _ *claims) {
			h.counted = append(h.counted, effect{messageID: "message 9", click: h.clicks[0]})
		}, "duplicates=1", "1 ghosts"},
		{"a rolled back click was counted", func(h *history, _ *claims) {
			h.counted = append(h.counted, effect{messageID: "message 9", click: click{"click 9", "a", 3}})
		}, "", "1 ghosts"},
		{"a rolled back click was published", func(h *history, _ *claims) {
			h.stream = append(h.stream, "message 9")
		}, "", "1 messages in the stream that no committed row explains"},
		{"a message told of another click than its row", func(h *history, _ *claims) {
			h.counted[0].click, h.counted[2].click = h.counted[2].click, h.counted[0].click
		}, "", "2 ghosts"},
		{"a click has no outbox row", func(h *history, _ *claims) {
			h.outbox = h.outbox[:3]
		}, "marked=3", "1 clicks without exactly one outbox row"},
		{"a click has two outbox rows", func(h *history, _ *claims) {
			h.outbox = append(h.outbox, row{messageID: "message 9", click: h.clicks[0], sent: true})
		}, "marked=5", "1 clicks without exactly one outbox row"},
		{"an outbox row has no click", func(h *history, _ *claims) {
			h.outbox = append(h.outbox, row{messageID: "message 9", click: click{"click 9", "a", 3}, sent: true})
		}, "marked=5", "1 outbox rows without their click"},
		{"a row is not marked", func(h *history, _ *claims) {
			h.outbox[3].sent = false
		}, "marked=3", "1 outbox rows not marked as sent"},
		{"a row was given up", func(h *history, _ *claims) {
			h.outbox[3].sent, h.outbox[3].dead = false, true
		}, "marked=3", "1 outbox rows given up as dead"},
		{"a later click overtook an earlier one of its link", func(h *history, _ *claims) {
			h.stream = []string{"message 3", "message 2", "message 1", "message 4", "message 2"}
		}, "lost=0 order_violations=1", "1 clicks first delivered after a later click"},
		{"the first delivery was late although a copy of a later click followed", func(h *history, _ *claims) {
			h.stream = []string{"message 1", "message 4", "message 2", "message 3", "message 2", "message 4"}
			h.dropped = append(h.dropped, "message 4")
		}, "order_violations=1", "1 clicks first delivered after a later click"},
		{"an unmarked message was not sent again", func(h *history, _ *claims) {
			h.stream = h.stream[:4]
		}, "", "1 messages unmarked at the relay's kill that were not sent again"},
		{"a copy vanished between the stream and the consumer", func(h *history, _ *claims) {
			h.stream = append(h.stream, "message 4")
		}, "", "1 copies in the stream that the consumer did not drop"},
		{"the consumer had nothing to drop", func(h *history, _ *claims) {
			h.dropped = nil
		}, "redelivered=0", "the consumer saw no copy"},
		{"the kill hit no acknowledged row", func(_ *history, c *claims) {
			c.unmarked = nil
		}, "", "not killed between an acknowledgement and its mark"},
		{"fewer clicks were committed than planned", func(_ *history, c *claims) {
			c.clicks = 5
		}, "", "4 clicks were committed instead of 5"},
		{"nearly nothing was rolled back", func(h *history, c *claims) {
			h.rolledBack, c.rolledBack = 1, 1
		}, "rolled_back=1", "only 1 rows were rolled back, at least 2"},
		{"a committed row was deleted", func(_ *history, c *claims) {
			c.rolledBack = 2
		}, "", "the ids in the outbox have 3 gaps, but the writers rolled 2 rows back"},
		{"nothing happened at all", func(h *history, c *claims) {
			*h, *c = history{}, claims{clicks: 4}
		}, "written=0", "0 clicks were committed instead of 4"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, c := sound()
			tt.change(&h, &c)
			v := judge(h, c)
			if !slices.ContainsFunc(v.faults, func(f string) bool { return strings.Contains(f, tt.fault) }) {
				t.Errorf("faults %q do not say %q", v.faults, tt.fault)
			}
			if !strings.Contains(v.String(), tt.line) {
				t.Errorf("line %q does not say %q", v, tt.line)
			}
		})
	}
}
