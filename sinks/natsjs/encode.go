package natsjs

import (
	"slices"

	"github.com/nats-io/nats.go"

	"github.com/outbox-relay/outbox-relay/relay"
)

// encoder turns messages into the client library's form. The library copies its input
// before it returns, so one message is used for all. Its header map is made again only if
// a message has headers of other names than the one before. Usually only the values change,
// and the map has parts of the slice in which they stand.
type encoder struct {
	msg nats.Msg
	// names and values are the headers of the message that was encoded last. mapped are
	// the names that the map was made of.
	names, mapped []string
	values        []string
	// text has the message id and the reply subject, which become one string.
	text []byte
}

// encode copies a message into the encoder. Nothing reads the message after that: once
// it is pending, the end of the connection may report it at any moment, and then it
// belongs to the relay again.
func (e *encoder) encode(m *relay.Message) {
	e.names, e.values = e.names[:0], e.values[:0]
	e.text = m.MessageID.Append(e.text[:0])
	e.add(headerMessageID, "") // set by addressTo
	if m.ContentType != "" {
		e.add(headerContentType, m.ContentType)
	}
	if m.Keyed {
		e.add(headerKey, m.Key)
	}
	for _, h := range m.Headers {
		e.add(h.Name, h.Value)
	}
	if !slices.Equal(e.names, e.mapped) {
		e.makeMap()
	}
	e.msg.Subject, e.msg.Data = m.Topic, m.Payload
}

func (e *encoder) add(name, value string) {
	if len(e.values) == cap(e.values) {
		e.mapped = nil // the map has parts of the slice that is about to be replaced
	}
	e.names, e.values = append(e.names, name), append(e.values, value)
}

// makeMap makes the header map of the names. Its values are parts of e.values.
func (e *encoder) makeMap() {
	if e.msg.Header == nil {
		e.msg.Header = make(nats.Header)
	}
	clear(e.msg.Header)
	for i, name := range e.names {
		e.msg.Header[name] = e.values[i : i+1 : i+1]
	}
	e.mapped = append(e.mapped[:0], e.names...)
}

// addressed returns the message that was encoded last, with the reply subject of its
// ticket. It is valid until the next call.
func (e *encoder) addressed(inbox string, t ticket) *nats.Msg {
	return e.addressTo(t.append(append(e.text, inbox...)))
}

// inBatch does what addressed does, for a message of a batch.
func (e *encoder) inBatch(inbox, prefix string, t batchTicket) *nats.Msg {
	return e.addressTo(appendBatchReply(append(e.text, inbox...), prefix, t))
}

// addressTo takes the text of the message id and the reply subject.
func (e *encoder) addressTo(text []byte) *nats.Msg {
	both := string(text)
	e.text = text[:relay.MessageIDLength]
	e.values[0], e.msg.Reply = both[:relay.MessageIDLength], both[relay.MessageIDLength:]
	return &e.msg
}

// forget drops the references to the last message.
func (e *encoder) forget() {
	clear(e.values[:cap(e.values)])
	clear(e.names[:cap(e.names)])
	clear(e.msg.Header)
	e.mapped = e.mapped[:0]
	e.msg.Subject, e.msg.Reply, e.msg.Data = "", "", nil
}
