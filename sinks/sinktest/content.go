package sinktest

import (
	"bytes"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"weak"

	"github.com/outbox-relay/outbox-relay/relay"
)

// legal are messages that every broker has to carry unchanged.
var legal = map[string]func(*relay.Message){
	"plain":      func(*relay.Message) {},
	"no payload": func(m *relay.Message) { m.Payload = nil },
	"bytes that are text in no encoding": func(m *relay.Message) {
		m.ContentType = "application/octet-stream"
		m.Payload = make([]byte, 0, 512)
		for i := range 512 {
			m.Payload = append(m.Payload, byte(i))
		}
	},
	"protocol in the payload": func(m *relay.Message) { m.Payload = []byte("\r\nPING\r\nPUB x 1\r\n\xce\x00-ERR\r\n") },
	"key":                     func(m *relay.Message) { m.Keyed, m.Key = true, "order-7" },
	"empty key":               func(m *relay.Message) { m.Keyed, m.Key = true, "" },
	"key beyond ASCII":        func(m *relay.Message) { m.Keyed, m.Key = true, "Zürich: 注文\u0085\u2028🧾" },
	"no content type":         func(m *relay.Message) { m.ContentType = "" },
	"content type with parameters": func(m *relay.Message) {
		m.ContentType = `multipart/mixed; boundary="a:b"; charset=utf-8`
	},
	"trace context": func(m *relay.Message) {
		m.Headers = []relay.Header{
			{Name: "baggage", Value: "userId=Am%C3%A9lie,serverNode=DF%2028"},
			{Name: "traceparent", Value: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
			{Name: "tracestate", Value: "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"},
		}
	},
	"malformed traceparent": func(m *relay.Message) {
		m.Headers = []relay.Header{{Name: "traceparent", Value: "not a traceparent"}}
	},
	"weird headers": func(m *relay.Message) {
		m.Headers = []relay.Header{
			{Name: "CaSe", Value: "kept"},
			{Name: "case", Value: "and told apart"},
			{Name: "empty", Value: ""},
			{Name: "colon", Value: "a: b\\r\\n: c"},
			{Name: "beyond-ascii", Value: "naïve 🧾\u00a0\u0085"},
			{Name: "quotes", Value: `"a", 'b', \`},
			{Name: "X.dot_and-dash!", Value: "1"},
		}
	},
	"many headers": func(m *relay.Message) {
		for i := range 100 {
			m.Headers = append(m.Headers, relay.Header{Name: fmt.Sprintf("h-%03d", i), Value: strings.Repeat("v", i)})
		}
	},
}

func storesBytesAndHeaders(f *fixture) {
	s := f.ready(SinkOptions{})
	topic := f.broker.Topics().Good
	cases := maps.Clone(legal)
	maps.Copy(cases, f.broker.Wire())
	for name, change := range cases {
		m := message(topic)
		change(m)
		o := f.send(s, m)
		if o.Class != relay.Acknowledged || o.Duplicate {
			f.Errorf("%s: %s %q (%v), duplicate %v, want a first acknowledgement", name, o.Class, o.Type, o.Err, o.Duplicate)
			continue
		}
		f.compare(name, m)
	}
}

// compare reads a message back.
func (f *fixture) compare(name string, m *relay.Message) {
	f.Helper()
	stored := f.broker.Stored(f, m.Topic)
	i := slices.IndexFunc(stored, func(s Stored) bool { return s.MessageID == m.MessageID.String() })
	if i < 0 {
		f.Errorf("%s: acknowledged and not stored", name)
		return
	}
	got := stored[i]
	if !bytes.Equal(got.Payload, m.Payload) {
		f.Errorf("%s: payload is %q, want %q", name, got.Payload, m.Payload)
	}
	if got.Keyed != m.Keyed || got.Key != m.Key {
		f.Errorf("%s: key is %v %q, want %v %q", name, got.Keyed, got.Key, m.Keyed, m.Key)
	}
	if got.ContentType != m.ContentType {
		f.Errorf("%s: content type is %q, want %q", name, got.ContentType, m.ContentType)
	}
	want := make(map[string]string)
	for _, h := range m.Headers {
		want[h.Name] = h.Value
	}
	if !maps.Equal(got.Headers, want) {
		f.Errorf("%s: headers are %q, want %q", name, got.Headers, want)
	}
}

func keepsOrder(f *fixture) {
	s := f.ready(SinkOptions{})
	topic := f.broker.Topics().Good
	var want []string
	for _, m := range messages(topic, 50) {
		f.want(s, m, relay.Acknowledged, "")
		want = append(want, m.MessageID.String())
	}
	if got := f.ids(topic); !slices.Equal(got, want) {
		f.Errorf("stored %q, want %q", got, want)
	}
}

func reportsDuplicates(f *fixture) {
	s := f.ready(SinkOptions{})
	m := message(f.broker.Topics().Good)
	if o := f.want(s, m, relay.Acknowledged, ""); o.Duplicate {
		f.Error("the first acknowledgement is called a duplicate")
	}
	o := f.want(s, m, relay.Acknowledged, "")
	stored := len(f.ids(m.Topic))
	if deduplicates := stored == 1; o.Duplicate != deduplicates {
		f.Errorf("the second acknowledgement has duplicate %v, and %d copies are stored", o.Duplicate, stored)
	}
}

func knowsSizeLimit(f *fixture) {
	s := f.ready(SinkOptions{})
	if n := s.MaxMessageBytes(); n <= 0 {
		f.Errorf("limit is %d bytes", n)
	}
}

func holdsNothing(f *fixture) {
	s := f.ready(SinkOptions{AckTimeout: 2 * patience})
	topics := f.broker.Topics()
	var published []weak.Pointer[relay.Message]
	done := make(chan struct{}, window)
	func() {
		for i := range window {
			m := message([]string{topics.Good, topics.Full, topics.Nowhere}[i%3])
			published = append(published, weak.Make(m))
			s.Publish(m, func(*relay.Message, relay.Outcome) { done <- struct{}{} })
		}
	}()
	for range window {
		<-done
	}
	collections := 0
	eventually(f, "the end of all messages reported", func() bool {
		runtime.GC()
		held := slices.ContainsFunc(published, func(p weak.Pointer[relay.Message]) bool { return p.Value() != nil })
		// Counted, not timed: a machine that stands still collects nothing either.
		if collections++; held && collections > 500 {
			f.Fatalf("a message that was reported is held after %d garbage collections", collections)
		}
		return !held
	})
}
