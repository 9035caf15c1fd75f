package relay

import (
	"crypto/sha256"
	"slices"
	"strconv"
	"strings"
	"time"
)

// DeadLetter is a dead row of which a copy is owed to the dead-letter topic.
type DeadLetter struct {
	Ref
	Topic string
	// Key is nil where there is none, or one too long for any broker.
	Key         *string
	ContentType string
	Headers     []byte // JSON; nil where they are too long for any broker
	// Payload is nil where it is NULL, or over the limit.
	Payload   []byte
	CreatedAt time.Time
	DeadAt    time.Time
	Attempts  int
	ErrorType ErrorType
	LastError string
}

// LeftOut is what a copy of a dead row leaves out: what may be the reason for its death.
type LeftOut uint8

// The parts of a row, in the order in which a copy that is refused does without them.
const (
	LeftHeaders LeftOut = 1 << iota
	LeftKey             // and the content type
	LeftPayload
	LeftAll = LeftHeaders | LeftKey | LeftPayload
)

// String names the parts, separated by commas.
func (l LeftOut) String() string {
	var names []string
	for part, name := range map[LeftOut]string{LeftHeaders: "headers", LeftKey: "key and content type", LeftPayload: "payload"} {
		if l&part != 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// More is what to leave out where a copy is refused for good with that error; false where
// nothing is left.
func (l LeftOut) More(t ErrorType) (LeftOut, bool) {
	order := []LeftOut{LeftHeaders, LeftKey, LeftPayload}
	if t == ErrorTypeTooLarge {
		order = []LeftOut{LeftPayload, LeftHeaders, LeftKey}
	}
	for _, part := range order {
		if l&part == 0 {
			return l | part, true
		}
	}
	return l, false
}

// Suspect is what the first copy leaves out: all of a row whose bytes may have ended
// connections.
func (d *DeadLetter) Suspect() LeftOut {
	if d.ErrorType == ErrorTypeDisconnected || d.ErrorType == ErrorTypeUnresponsive {
		return LeftAll
	}
	return 0
}

// maxLetterText bounds the error and the topic in a header, in bytes.
const maxLetterText = 1024

// Copy makes the message for the dead-letter topic. Its id is its own, and the same each
// time it is made for this death: with the row's, a broker that drops duplicates would
// take a later replay of the row for one, and acknowledge it.
func (d *DeadLetter) Copy(topic string, left LeftOut) *Message {
	m := &Message{
		Ref: Ref{MessageID: d.copyID()}, Topic: topic, CreatedAt: d.CreatedAt, Payload: []byte{}, Own: true, Size: MessageOverhead,
	}
	if left&LeftKey == 0 {
		if d.Key != nil && !HasControl(*d.Key) {
			m.Key, m.Keyed = *d.Key, true
		}
		if !HasControl(d.ContentType) {
			m.ContentType = d.ContentType
		}
	}
	if left&LeftPayload == 0 && d.Payload != nil {
		m.Payload = d.Payload
		m.Size += int64(len(d.Payload))
	}
	if left&LeftHeaders == 0 {
		m.Headers = d.soundHeaders()
	}
	for name, value := range map[string]string{
		"Outbox-Error-Type":        string(d.ErrorType),
		"Outbox-Error":             letterText(d.LastError),
		"Outbox-Attempts":          strconv.Itoa(d.Attempts),
		"Outbox-Dead-At":           d.DeadAt.UTC().Format(time.RFC3339Nano),
		"Outbox-Origin-Topic":      letterText(d.Topic),
		"Outbox-Origin-Id":         strconv.FormatInt(d.ID, 10),
		"Outbox-Origin-Message-Id": d.MessageID.String(),
		"Outbox-Left-Out":          left.String(),
	} {
		if value != "" {
			m.Headers = append(m.Headers, Header{Name: name, Value: value})
		}
	}
	slices.SortFunc(m.Headers, func(a, b Header) int { return strings.Compare(a.Name, b.Name) })
	return m
}

// soundHeaders are the row's headers without those that break the rules of the wire.
func (d *DeadLetter) soundHeaders() []Header {
	headers, err := ParseHeaders(d.Headers)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(headers, func(h Header) bool { return validateHeader(h, false) != nil })
}

// letterText makes text of a row, or of a broker, fit for a header.
func letterText(s string) string {
	s = OneLine(strings.ToValidUTF8(s, "\ufffd"))
	if len(s) > maxLetterText {
		s = strings.ToValidUTF8(s[:maxLetterText], "")
	}
	return strings.TrimSpace(s)
}

// copyID is a uuid of version 8, whose digits are the application's.
func (d *DeadLetter) copyID() MessageID {
	sum := sha256.Sum256([]byte("outbox-relay dead letter:" + d.MessageID.String() + ":" + strconv.FormatInt(d.DeadAt.UnixMicro(), 10)))
	var id MessageID
	copy(id[:], sum[:])
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80
	return id
}
