package natsjs

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/outbox-relay/outbox-relay/relay"
)

// FuzzValidate writes each message that is valid as the client library does, and reads
// it as the server and consumers do: nothing may be lost or added.
func FuzzValidate(f *testing.F) {
	f.Add("orders.new", "k", true, "application/json", "name", "value", []byte("{}"))
	f.Add("orders.*", " k", true, "", "a:b", " v", []byte(nil))
	f.Add("$JS", "", false, "a/b ", "naïve", "v\r\nx: y", []byte("\r\n"))
	f.Add("a..b", "", true, "x", "Status", "503", []byte("x"))
	f.Fuzz(func(t *testing.T, topic, key string, keyed bool, contentType, name, value string, payload []byte) {
		m := &relay.Message{
			Topic: topic, Key: key, Keyed: keyed, ContentType: contentType,
			Headers: []relay.Header{{Name: name, Value: value}}, Payload: payload,
		}
		size, err := validate(m, limits{message: 1 << 20})
		if err != nil {
			if !errors.Is(err, relay.ErrInvalid) && !errors.Is(err, relay.ErrTooLarge) {
				t.Errorf("error %v wraps neither ErrInvalid nor ErrTooLarge", err)
			}
			return
		}
		if topic == "" || strings.ContainsAny(topic, " \t\r\n*>") || strings.Contains(topic, "..") ||
			strings.HasPrefix(topic, "$") || strings.HasPrefix(topic, ".") || strings.HasSuffix(topic, ".") {
			t.Errorf("topic %q passed", topic)
		}
		var e encoder
		e.encode(m)
		msg := e.addressed("_INBOX.x.", ticket{1, 2})
		if wire := int64(msg.Size() - len(msg.Subject) - len(msg.Reply)); wire != size {
			t.Errorf("size is %d, on the wire it is %d", size, wire)
		}
		got, err := nats.DecodeHeadersMsg(headerBlock(msg.Header))
		if err != nil {
			t.Fatalf("headers cannot be read: %v", err)
		}
		want := map[string]string{headerMessageID: m.MessageID.String(), name: value}
		if contentType != "" {
			want[headerContentType] = contentType
		}
		if keyed {
			want[headerKey] = key
		}
		if len(got) != len(want) {
			t.Errorf("headers are %q, want %q", got, want)
		}
		for n, v := range want {
			if len(got[n]) != 1 || got[n][0] != v {
				t.Errorf("header %q is %q, want %q", n, got[n], v)
			}
		}
	})
}

// headerBlock writes headers as they are on the wire.
func headerBlock(h nats.Header) []byte {
	b := []byte("NATS/1.0\r\n")
	for name, values := range h {
		for _, v := range values {
			b = append(b, name+": "+v+"\r\n"...)
		}
	}
	return append(b, "\r\n"...)
}

func TestTopicUnderOwnInboxPrefixIsReserved(t *testing.T) {
	for topic, ok := range map[string]bool{"replies": false, "replies.a": false, "repliesx": true, "a.replies": true} {
		if err := checkTopic(topic, "replies"); (err == nil) != ok {
			t.Errorf("topic %s with inbox prefix replies: %v", topic, err)
		}
	}
}

func TestHeadersOverAStreamsLimitAreTooLarge(t *testing.T) {
	m := &relay.Message{Topic: "t", Headers: []relay.Header{{Name: "a", Value: strings.Repeat("v", 1<<16)}}}
	if _, err := validate(m, limits{message: 1 << 20}); !errors.Is(err, relay.ErrTooLarge) {
		t.Errorf("error is %v", err)
	}
}

func TestEncoderKeepsNothingOfALargerMessage(t *testing.T) {
	var e encoder
	large := &relay.Message{Topic: "a", Keyed: true, Key: "k", ContentType: "c", Headers: []relay.Header{{Name: "x", Value: "1"}, {Name: "y", Value: "2"}}}
	e.encode(large)
	e.encode(&relay.Message{Topic: "b"})
	msg := e.addressed("i.", ticket{2, 2})
	if len(msg.Header) != 1 || msg.Subject != "b" || msg.Reply != "i.2-2" || msg.Data != nil {
		t.Errorf("message is %+v", msg)
	}
	e.encode(large)
	msg = e.addressed("i.", ticket{3, 3})
	for name, want := range map[string]string{"x": "1", "y": "2", headerKey: "k", headerContentType: "c"} {
		if msg.Header.Get(name) != want {
			t.Errorf("header %s is %q, want %q", name, msg.Header.Get(name), want)
		}
	}
}

// The header map is used again for messages with the same names. Whatever came before, a
// message is encoded as by an encoder that is new.
func TestEncoderRemembersNothingOfEarlierMessages(t *testing.T) {
	var e encoder
	names := []string{"a", "b", "c", "d", "e", "f"}
	for n := range 10_000 {
		m := &relay.Message{Topic: "t", Keyed: rand.IntN(2) == 0, Key: strconv.Itoa(n)}
		m.MessageID[15], m.MessageID[14] = byte(n), byte(n>>8)
		if rand.IntN(2) == 0 {
			m.ContentType = "text/" + m.Key
		}
		for _, name := range names[:rand.IntN(len(names)+1)] {
			m.Headers = append(m.Headers, relay.Header{Name: name, Value: name + m.Key})
		}
		var fresh encoder
		e.encode(m)
		fresh.encode(m)
		tk := ticket{uint32(n), uint64(n)}
		got, want := e.addressed("i.", tk), fresh.addressed("i.", tk)
		if !reflect.DeepEqual(got.Header, want.Header) || got.Reply != "i."+string(tk.append(nil)) {
			t.Fatalf("message %d has headers %v and reply %s, want headers %v", n, got.Header, got.Reply, want.Header)
		}
		if want := m.MessageID.String(); got.Header.Get(headerMessageID) != want {
			t.Fatalf("message id is %s, want %s", got.Header.Get(headerMessageID), want)
		}
		if rand.IntN(10) == 0 {
			e.forget()
		}
	}
}
