package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
	"github.com/outbox-relay/outbox-relay/relay"
)

// messageID is the id of the n-th message.
func messageID(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

// delivered is a message of that id about that click, in the broker.
func delivered(t *testing.T, id string, about message) oracle.Delivery {
	t.Helper()
	digest, err := about.digest()
	if err != nil {
		t.Fatal(err)
	}
	return oracle.Delivery{MessageID: id, Digest: digest}
}

// addRow adds an outbox row about a click.
func (h *history) addRow(t *testing.T, n int, click string) {
	t.Helper()
	id, err := relay.ParseMessageID(messageID(n))
	if err != nil {
		t.Fatal(err)
	}
	ref := relay.Ref{ID: int64(n), MessageID: id}
	h.outbox = append(h.outbox, row{ref, click})
	h.table[ref] = oracle.RowState{Sent: true}
}

// change changes what the table says about a row.
func (h *history) change(n int, state oracle.RowState) { h.table[h.outbox[n].Ref] = state }

// place gives the messages their places in the stream.
func (h *history) place(messages ...oracle.Delivery) {
	h.stream = nil
	for i, d := range messages {
		d.StreamSeq = uint64(i + 1)
		h.stream = append(h.stream, d)
	}
}

// sound is the history of four clicks of two links, of which the second's
// message was sent again after the relay's kill.
func sound(t *testing.T) (*history, *claims) {
	t.Helper()
	h := &history{table: oracle.Table{}, rolledBack: 3, dropped: []string{messageID(2)}}
	for i, at := range []message{{Code: "a", Seq: 1}, {Code: "b", Seq: 1}, {Code: "a", Seq: 2}, {Code: "b", Seq: 2}} {
		at.Click = fmt.Sprintf("click %d", i+1)
		h.clicks = append(h.clicks, at)
		h.addRow(t, i+1, at.Click)
		h.effects = append(h.effects, effect{messageID(i + 1), at})
		h.stream = append(h.stream, delivered(t, messageID(i+1), at))
	}
	h.place(append(h.stream, h.stream[1])...)
	return h, &claims{clicks: 4, rolledBack: 3, minRolledBack: 2, faults: 2, unmarked: []string{messageID(2)}}
}

func verdictOf(t *testing.T, h *history, c *claims) verdict {
	t.Helper()
	v, err := judge(*h, *c)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestSoundHistoryIsAccepted(t *testing.T) {
	h, c := sound(t)
	v := verdictOf(t, h, c)
	if !v.kept() {
		t.Error(v.reasons())
	}
	want := "demo: written=4 rolled_back=3 consumed=4 marked=4 redelivered=1 duplicates=0 lost=0 order_violations=0"
	if got := v.String(); got != want {
		t.Errorf("line:\n%s\nwant:\n%s", got, want)
	}
}

func TestCopiesThatOnlyTheBrokerDeliversAgainAreAccepted(t *testing.T) {
	h, c := sound(t)
	h.dropped = append(h.dropped, messageID(4))
	v := verdictOf(t, h, c)
	if !v.kept() || v.redelivered != 2 || v.copies != 1 {
		t.Errorf("redelivered %d, copies %d, want 2, 1 and nothing broken: %s", v.redelivered, v.copies, v.reasons())
	}
}

func TestBrokenHistoryIsRefused(t *testing.T) {
	ghost := message{Click: "click 9", Code: "a", Seq: 3}
	for _, tt := range []struct {
		name   string
		change func(*testing.T, *history, *claims)
		line   string // what the last line must say, if it is to differ
		fault  string // the one reason that must be given
	}{
		{"a click never reached the consumer", func(_ *testing.T, h *history, _ *claims) {
			h.effects = h.effects[:3]
		}, "consumed=3 marked=4 redelivered=1 duplicates=0 lost=1", "committed rows are received: 1 findings"},
		{"a click never reached the broker", func(_ *testing.T, h *history, _ *claims) {
			h.place(append(h.stream[:3:3], h.stream[4:]...)...)
		}, "", "committed rows are received: 1 findings"},
		{"an effect happened twice under one message id", func(_ *testing.T, h *history, _ *claims) {
			h.effects = append(h.effects, h.effects[0])
		}, "consumed=4 marked=4 redelivered=1 duplicates=1", "1 redeliveries where the faults explain 0"},
		{"an effect happened twice under two message ids", func(_ *testing.T, h *history, _ *claims) {
			h.effects = append(h.effects, effect{messageID(9), h.clicks[0]})
		}, "duplicates=1", "a message keeps its id: 1 findings"},
		{"a rolled back click was counted", func(_ *testing.T, h *history, _ *claims) {
			h.effects = append(h.effects, effect{messageID(9), ghost})
		}, "", "received messages were committed: 1 findings"},
		{"a rolled back click was published", func(t *testing.T, h *history, _ *claims) {
			h.place(append(h.stream, delivered(t, messageID(9), ghost))...)
		}, "", "received messages were committed: 1 findings"},
		{"a message told of another click than its row", func(_ *testing.T, h *history, _ *claims) {
			h.effects[0].click, h.effects[2].click = h.effects[2].click, h.effects[0].click
		}, "", "arrive unchanged: 2 findings"},
		{"a message in the broker is not its row's", func(_ *testing.T, h *history, _ *claims) {
			h.stream[0].Digest = h.stream[2].Digest
		}, "", "arrive unchanged: 1 findings"},
		{"there were more copies than was in flight", func(_ *testing.T, _ *history, c *claims) {
			c.faults = 0
		}, "", "1 redeliveries where the faults explain 0"},
		{"a click has no outbox row", func(_ *testing.T, h *history, _ *claims) {
			delete(h.table, h.outbox[3].Ref)
			h.outbox = h.outbox[:3]
		}, "marked=3", "1 clicks without exactly one outbox row"},
		{"a click has two outbox rows", func(t *testing.T, h *history, _ *claims) {
			h.addRow(t, 9, h.clicks[0].Click)
		}, "marked=5", "1 clicks without exactly one outbox row"},
		{"an outbox row has no click", func(t *testing.T, h *history, _ *claims) {
			h.addRow(t, 9, ghost.Click)
		}, "marked=5", "1 clicks in outbox rows that were not committed"},
		{"a row is not marked", func(_ *testing.T, h *history, _ *claims) {
			h.change(3, oracle.RowState{})
		}, "marked=3", "sent rows are marked, or deleted where told so: 1 findings"},
		{"a row was given up", func(_ *testing.T, h *history, _ *claims) {
			h.change(3, oracle.RowState{Dead: true})
		}, "marked=3", "only rows that cannot be published are dead: 1 findings"},
		{"a later click overtook an earlier one of its link", func(_ *testing.T, h *history, _ *claims) {
			h.place(h.stream[2], h.stream[1], h.stream[0], h.stream[3], h.stream[1])
		}, "lost=0 order_violations=1", "first deliveries of a key are in sequence: 1 findings"},
		{"the first delivery was late although a copy of a later click followed", func(_ *testing.T, h *history, _ *claims) {
			h.place(h.stream[0], h.stream[3], h.stream[1], h.stream[2], h.stream[1], h.stream[3])
			h.dropped = append(h.dropped, messageID(4))
		}, "order_violations=1", "first deliveries of a key are in sequence: 1 findings"},
		{"an unmarked message was not sent again", func(_ *testing.T, h *history, _ *claims) {
			h.stream = h.stream[:4]
		}, "", "1 messages unmarked at the relay's kill that were not sent again"},
		{"a copy vanished between the stream and the consumer", func(_ *testing.T, h *history, _ *claims) {
			h.place(append(h.stream, h.stream[3])...)
		}, "", "1 copies in the stream that the consumer did not drop"},
		{"the consumer had nothing to drop", func(_ *testing.T, h *history, _ *claims) {
			h.dropped = nil
		}, "redelivered=0", "the consumer saw no copy"},
		{"the kill hit no acknowledged row", func(_ *testing.T, _ *history, c *claims) {
			c.unmarked = nil
		}, "", "not killed between an acknowledgement and its mark"},
		{"fewer clicks were committed than planned", func(_ *testing.T, _ *history, c *claims) {
			c.clicks = 5
		}, "", "4 clicks were committed instead of 5"},
		{"nearly nothing was rolled back", func(_ *testing.T, h *history, c *claims) {
			h.rolledBack, c.rolledBack = 1, 1
		}, "rolled_back=1", "only 1 rows were rolled back, at least 2"},
		{"a committed row was deleted", func(_ *testing.T, _ *history, c *claims) {
			c.rolledBack = 2
		}, "", "the ids in the outbox have 3 gaps, but the writers rolled 2 rows back"},
		{"nothing happened at all", func(_ *testing.T, h *history, c *claims) {
			*h, *c = history{}, claims{clicks: 4}
		}, "written=0", "0 clicks were committed instead of 4"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, c := sound(t)
			tt.change(t, h, c)
			v := verdictOf(t, h, c)
			if v.kept() || !strings.Contains(v.reasons(), tt.fault) {
				t.Errorf("%s\ndoes not say %q", v.reasons(), tt.fault)
			}
			if !strings.Contains(v.String(), tt.line) {
				t.Errorf("line %q does not say %q", v, tt.line)
			}
		})
	}
}
