package natsjs

import (
	"slices"

	"github.com/nats-io/nats.go"

	"github.com/outbox-relay/outbox-relay/relay"
)

// encoder turns messages into the client library's form. The library copies its input
// before it returns, so one header map and one message are used for all messages.
// Measured with three headers, a message takes 2 allocations of 96 bytes instead of 7
// of 640 bytes, and a third less time.
type encoder struct {
	msg    nats.Msg
	values []string // backs the header map's values
	reply  []byte
}

// encode copies a message into the encoder. Nothing reads the message after that: once
// it is pending, the end of the connection may report it at any moment, and then it
// belongs to the relay again.
func (e *encoder) encode(m *relay.Message) {
	if e.msg.Header == nil {
		e.msg.Header = make(nats.Header)
	}
	clear(e.msg.Header)
	// Make room for all values first: if the slice grew later, the map would keep the
	// old ones.
	e.values = slices.Grow(e.values[:0], 3+len(m.Headers))
	e.set(headerMessageID, m.MessageID.String())
	if m.ContentType != "" {
		e.set(headerContentType, m.ContentType)
	}
	if m.Keyed {
		e.set(headerKey, m.Key)
	}
	for _, h := range m.Headers {
		e.set(h.Name, h.Value)
	}
	e.msg.Subject, e.msg.Data = m.Topic, m.Payload
}

// addressed returns the message that was encoded last, with the reply subject of its
// ticket. It is valid until the next call.
func (e *encoder) addressed(inbox string, t ticket) *nats.Msg {
	e.reply = t.append(append(e.reply[:0], inbox...))
	e.msg.Reply = string(e.reply)
	return &e.msg
}

// inBatch does what addressed does, for a message of a batch.
func (e *encoder) inBatch(inbox, prefix string, t batchTicket) *nats.Msg {
	e.reply = appendBatchReply(append(e.reply[:0], inbox...), prefix, t)
	e.msg.Reply = string(e.reply)
	return &e.msg
}

func (e *encoder) set(name, value string) {
	e.values = append(e.values, value)
	i := len(e.values)
	e.msg.Header[name] = e.values[i-1 : i : i]
}

// forget drops the references to the last message.
func (e *encoder) forget() {
	clear(e.msg.Header)
	clear(e.values[:cap(e.values)])
	e.msg.Subject, e.msg.Reply, e.msg.Data = "", "", nil
}
