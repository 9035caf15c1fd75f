package sinktest

import (
	"maps"
	"slices"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay"
)

func refusesFull(f *fixture) {
	s := f.ready(SinkOptions{})
	topics := f.broker.Topics()
	m := message(topics.Full)
	f.want(s, m, relay.Refused, topics.FullType)
	f.want(s, message(topics.Good), relay.Acknowledged, "")
	f.broker.Drain(f)
	f.want(s, m, relay.Acknowledged, "")
}

func refusesUnroutable(f *fixture) {
	s := f.ready(SinkOptions{})
	topics := f.broker.Topics()
	lost := messages(topics.Nowhere, 10)
	good := messages(topics.Good, 10)
	for i := range lost {
		f.publish(s, lost[i], good[i])
	}
	for i := range lost {
		f.check(lost[i], f.await(lost[i]), relay.Refused, relay.ErrorTypeUnroutable)
		f.check(good[i], f.await(good[i]), relay.Acknowledged, "")
	}
	// Alone too, when nothing else tells that the broker works.
	o := f.want(s, message(topics.Nowhere), relay.Refused, relay.ErrorTypeUnroutable)
	if !strings.Contains(o.Err.Error(), topics.Nowhere) {
		f.Errorf("the error does not name the topic: %v", o.Err)
	}
}

func rejectsTooLarge(f *fixture) {
	s := f.ready(SinkOptions{})
	topic := f.broker.Topics().Good
	neighbours := messages(topic, 20)
	large := message(topic)
	large.Payload = make([]byte, s.MaxMessageBytes()+1)
	f.publish(s, neighbours[:10]...)
	f.publish(s, large)
	f.publish(s, neighbours[10:]...)
	f.check(large, f.await(large), relay.Rejected, relay.ErrorTypeTooLarge)
	for _, m := range neighbours {
		f.check(m, f.await(m), relay.Acknowledged, "")
	}
	if slices.Contains(f.ids(topic), large.MessageID.String()) {
		f.Error("the rejected message is stored")
	}
}

// broken are messages that every sink rejects.
var broken = map[string]func(*relay.Message){
	"empty topic":            func(m *relay.Message) { m.Topic = "" },
	"line break in topic":    func(m *relay.Message) { m.Topic += "\r\nPING" },
	"NUL in topic":           func(m *relay.Message) { m.Topic += "\x00" },
	"topic is not UTF-8":     func(m *relay.Message) { m.Topic += "\xff" },
	"line break in key":      func(m *relay.Message) { m.Keyed, m.Key = true, "a\r\nNats-Rollup: all" },
	"line break in type":     func(m *relay.Message) { m.ContentType = "text/plain\r\nNats-Rollup: all" },
	"empty header name":      func(m *relay.Message) { m.Headers = []relay.Header{{Name: "", Value: "v"}} },
	"line break in name":     func(m *relay.Message) { m.Headers = []relay.Header{{Name: "a\r\nb", Value: "v"}} },
	"line break in value":    func(m *relay.Message) { m.Headers = []relay.Header{{Name: "a", Value: "v\r\nNats-Rollup: all"}} },
	"line feed in value":     func(m *relay.Message) { m.Headers = []relay.Header{{Name: "a", Value: "v\n"}} },
	"tab in value":           func(m *relay.Message) { m.Headers = []relay.Header{{Name: "a", Value: "v\tw"}} },
	"DEL in value":           func(m *relay.Message) { m.Headers = []relay.Header{{Name: "a", Value: "\x7f"}} },
	"message id of its own":  func(m *relay.Message) { m.Headers = []relay.Header{{Name: "Nats-Msg-Id", Value: "x"}} },
	"reserved in lower case": func(m *relay.Message) { m.Headers = []relay.Header{{Name: "nats-rollup", Value: "all"}} },
	"reserved for the relay": func(m *relay.Message) { m.Headers = []relay.Header{{Name: "OUTBOX-key", Value: "x"}} },
	"second content type":    func(m *relay.Message) { m.Headers = []relay.Header{{Name: "content-Type", Value: "x"}} },
	"one bad header of many": func(m *relay.Message) {
		m.Headers = []relay.Header{{Name: "a", Value: "1"}, {Name: "b", Value: "\x01"}, {Name: "c", Value: "3"}}
	},
}

func rejectsBroken(f *fixture) {
	s := f.ready(SinkOptions{})
	topic := f.broker.Topics().Good
	cases := maps.Clone(broken)
	maps.Copy(cases, f.broker.Broken())
	var want []string
	for name, change := range cases {
		before, bad, after := message(topic), message(topic), message(topic)
		const secret = "payload-that-must-not-be-shown"
		bad.Payload = []byte(secret)
		change(bad)
		f.publish(s, before, bad, after)
		o := f.await(bad)
		switch {
		case o.Class != relay.Rejected || o.Type != relay.ErrorTypeInvalid:
			f.Errorf("%s: %s %q (%v), want %s %q", name, o.Class, o.Type, o.Err, relay.Rejected, relay.ErrorTypeInvalid)
		case strings.Contains(o.Err.Error(), secret):
			f.Errorf("%s: the error shows the payload: %v", name, o.Err)
		case relay.HasControl(o.Err.Error()):
			f.Errorf("%s: the error has a control character: %q", name, o.Err)
		}
		for _, m := range [...]*relay.Message{before, after} {
			f.check(m, f.await(m), relay.Acknowledged, "")
			want = append(want, m.MessageID.String())
		}
	}
	// Neighbours do not wait for each other, so their order is the sink's own.
	got := slices.Sorted(slices.Values(f.ids(topic)))
	if slices.Sort(want); !slices.Equal(got, want) {
		f.Errorf("stored are %d messages, want the %d neighbours and nothing else", len(got), len(want))
	}
}

func refusesSilent(f *fixture) {
	topics := f.broker.Topics()
	if topics.Silent == "" {
		f.Skip("the broker has no such place")
	}
	s := f.ready(SinkOptions{AckTimeout: shortAck})
	silent := messages(topics.Silent, 5)
	f.publish(s, silent...)
	f.want(s, message(topics.Good), relay.Acknowledged, "")
	for _, m := range silent {
		f.checkTimeout(s, m, f.await(m))
	}
	// Alone too: the broker answers when it is asked something else.
	alone := message(topics.Silent)
	f.checkTimeout(s, alone, f.send(s, alone))
	f.want(s, message(topics.Good), relay.Acknowledged, "")
}

// checkTimeout checks the outcome of a message to the silent topic. If the broker stands
// still while the sink asks it something, the sink gives the connection up. Then the
// message is sent again.
func (f *fixture) checkTimeout(s relay.Sink, m *relay.Message, o relay.Outcome) {
	f.Helper()
	for n := 0; n < 4 && o.Type == relay.ErrorTypeUnresponsive; n++ {
		f.Logf("again: %v", o.Err)
		f.reach(s)
		o = f.send(s, m)
	}
	f.check(m, o, relay.Refused, relay.ErrorTypeTimeout)
}
