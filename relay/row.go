package relay

import (
	"errors"
	"fmt"
	"time"
)

// RowValues is a row of the outbox table as it was read, from the table or from the
// write-ahead log.
type RowValues struct {
	// Ref names the row. A message id that is NULL becomes the zero one here, so that
	// the row can be declared dead.
	Ref
	CreatedAt time.Time
	DueSince  time.Time // as in [Message]
	Attempts  int

	Topic, Key, ContentType Value
	// Headers is the text of the jsonb.
	Headers Value
	// Payload is kept by the message. The bytes of the others are valid only until the
	// message is made.
	Payload Value
}

// Value is a column's value. The zero value is NULL.
type Value struct {
	Set bool // not NULL
	// Bytes are nil if the value was not read, because nobody needs it.
	Bytes []byte
	// Length in bytes, also where the value was not read.
	Length int64
}

// NewValue is a value that was read; nil is NULL.
func NewValue(b []byte) Value { return Value{Set: b != nil, Bytes: b, Length: int64(len(b))} }

// Limits of what a row may hold, in bytes.
const (
	// HeaderCost is what a byte of headers as JSON costs in memory: the shortest
	// pair, `"a": "", `, becomes a struct of two strings.
	HeaderCost = 4
	// MaxPlain bounds everything of a row but the payload, counted as in memory. No
	// broker takes as much in subjects and headers.
	MaxPlain = 4 << 20
	// MaxPayload is what PostgreSQL can send in one row (1 GB), with room for the
	// other columns. It is the limit where the broker sets none.
	MaxPayload = 1_000_000_000
	// MaxKeptKey is the longest key that a row over MaxPlain keeps, so that the rows
	// of its key wait until it is dead.
	MaxKeptKey = 8 << 10
)

// PayloadLimit is the longest payload that is published, in bytes, to a broker that
// takes limit; 0 if the broker has no limit.
func PayloadLimit(limit int64) int64 {
	if limit <= 0 {
		return MaxPayload
	}
	return min(limit, MaxPayload)
}

// RowReader makes messages of rows. A row gets the same message, or the same
// defect, whether the table or the log brings it, because both come through here.
//
// It keeps strings that repeat, so it serves one goroutine. The zero value is
// ready.
type RowReader struct {
	topics, contentTypes interned
}

// Read fills in the message of a row. If the row is not due, its content is not
// read, and its key is the [KeyName]. limit is the longest payload, from [PayloadLimit].
func (r *RowReader) Read(m *Message, v *RowValues, due bool, limit int64) {
	m.Ref, m.CreatedAt, m.DueSince, m.Attempts = v.Ref, v.CreatedAt, v.DueSince, v.Attempts
	m.Size = MessageOverhead
	if !due {
		if v.Key.Set {
			m.Key, m.Keyed = KeyName(string(v.Key.Bytes)), true
			m.Size += int64(len(m.Key))
		}
		return
	}
	if r.readPlain(m, v); m.Defect == nil {
		readContent(m, v, limit)
	}
}

// readPlain reads the columns of text, and counts the headers with them.
func (r *RowReader) readPlain(m *Message, v *RowValues) {
	plain := v.plain()
	if plain > MaxPlain {
		m.Defect = plainTooLarge(plain)
		if v.Key.Length <= MaxKeptKey {
			m.setKey(v.Key)
		}
		return
	}
	m.Size += plain
	m.Topic = r.topics.string(v.Topic.Bytes)
	m.ContentType = r.contentTypes.string(v.ContentType.Bytes)
	m.setKey(v.Key)
	switch {
	case v.MessageID == (MessageID{}):
		m.Defect = errNoMessageID
	case !v.Topic.Set:
		m.Defect = errNoTopic
	}
}

// plain is what everything but the payload takes in memory.
func (v *RowValues) plain() int64 {
	n := v.Topic.Length + v.Key.Length + v.ContentType.Length
	if v.Headers.Length > int64(len("{}")) {
		n += HeaderCost * v.Headers.Length
	}
	return n
}

func (m *Message) setKey(key Value) {
	if key.Set {
		m.Key, m.Keyed = string(key.Bytes), true
		if name := KeyName(m.Key); len(name) < len(m.Key) {
			m.keyName = name
		}
	}
}

// readContent reads the headers and takes over the payload.
func readContent(m *Message, v *RowValues, limit int64) {
	if v.Payload.Length > limit {
		m.Defect = payloadTooLarge(v.Payload.Length, limit)
		return
	}
	m.Size += v.Payload.Length
	if !v.Payload.Set {
		m.Defect = errNoPayload
		return
	}
	headers, err := ParseHeaders(v.Headers.Bytes)
	if err != nil {
		m.Defect = err
		return
	}
	m.Headers = headers
	m.Trace, m.Note = TraceOf(headers)
	if m.Payload = v.Payload.Bytes; m.Payload == nil {
		m.Payload = []byte{}
	}
}

// Defects of rows that lack what the table's shape promises.
var (
	errNoMessageID = errors.New("the message_id is NULL, or all zeros: give the row one, such as gen_random_uuid()")
	errNoTopic     = errors.New("the topic is NULL: give the row one")
	errNoPayload   = errors.New("the payload is NULL: give the row one, at least an empty one")
)

// payloadTooLarge is the defect of a row whose payload takes length bytes, or at
// least so many.
func payloadTooLarge(length, limit int64) error {
	return fmt.Errorf("the payload takes %d bytes or more, the limit is %d: %w", length, limit, ErrTooLarge)
}

// plainTooLarge is the defect of a row that takes length bytes, or at least so
// many, beside its payload.
func plainTooLarge(length int64) error {
	return fmt.Errorf("topic, key, content type and headers together take %d bytes or more, the limit is %d: %w",
		length, MaxPlain, ErrTooLarge)
}

// interned keeps one copy of strings that repeat: a table has few topics and
// fewer content types.
type interned struct {
	last  string
	known map[string]string
}

// maxInterned bounds the copies where topics turn out not to repeat.
const maxInterned = 256

func (i *interned) string(b []byte) string {
	if string(b) == i.last {
		return i.last
	}
	s, ok := i.known[string(b)]
	if !ok {
		s = string(b)
		if i.known == nil {
			i.known = make(map[string]string)
		}
		if len(i.known) < maxInterned && len(s) < maxInterned {
			i.known[s] = s
		}
	}
	i.last = s
	return s
}
