package engine

import (
	"log/slog"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// What the loop does with full topics: the sink takes no more of their messages for
// now.

const faultLateTopics = "messages of some topics are late: few of them are tried at once, and their rows wait in the table"

// postpone returns a row of a full topic to the table. The other rows of the topic that
// are in memory return too, unless the sink has them.
func (t *term) postpone(m *item, o relay.Outcome) {
	now := time.Now()
	if !t.topics.has(m.Topic) && !t.fill(m.Topic, now) {
		t.refuse(m, o) // the list is full
		return
	}
	t.done.answered++ // the broker works; the status shows a topic that waits in another place
	t.topics.postponed(m.Topic, now, o.Err)
	t.faults.report(faultLateTopics, m.about(
		slog.String("topic", m.Topic), slog.Int("topics", len(t.topics.shares)), slog.Any("error", o.Err))...)
	t.hold(m)
	t.returnOne(m)
}

// fill notes that the topic is full, and returns the topic's rows in memory that the
// sink does not have to the table.
func (t *term) fill(topic string, now time.Time) bool {
	var withSink []*item
	for _, it := range t.taken.rows {
		if it == nil || it.Topic != topic {
			continue
		}
		it.counted = false // against an earlier share
		if it.withSink {
			withSink = append(withSink, it)
		}
	}
	if !t.topics.fill(topic, now, withSink) {
		return false
	}
	for _, m := range t.dispatcher.returnTopic(topic) {
		t.hold(m)
		t.returned(m)
	}
	return true
}

// hold holds the key of a row that returns to the table.
func (t *term) hold(m *item) {
	if t.dispatcher.ordered(m.Message) {
		t.holds.hold(m.KeyName())
	}
}

// triedTopic notes that the sink has tried a message. If its topic is full no more, the
// next survey brings rows that came by the log before.
func (t *term) triedTopic(m *item, acknowledged bool) {
	if t.topics.answered(m.Topic, acknowledged) {
		t.tailing.restores()
	}
}

// readRoomyTopics has a survey made if a full topic has got room. Passes come without
// it.
func (t *term) readRoomyTopics(now time.Time) {
	if t.topics.advance(now) {
		t.tailing.wakeAt(now)
	}
}

// tellTopics tells which topics are full.
func (t *term) tellTopics() {
	t.status.LateTopics, t.status.LateTopicsTold = len(t.topics.shares), t.topics.told()
	if t.status.LateTopics == 0 {
		t.faults.recovered(faultLateTopics)
	}
}
