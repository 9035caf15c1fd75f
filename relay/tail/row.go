package tail

import (
	"fmt"
	"strconv"

	"github.com/outbox-relay/outbox-relay/relay"
)

// rowReader makes messages of tuples, by the rules by which a sweep makes them
// of rows: a row gets the same message whichever way it comes.
type rowReader struct {
	// A table has few topics and fewer content types, so the last one of each is
	// kept.
	topic, contentType string
}

// event fills in what a Row event tells of its row. committed is when its
// transaction did, limit what a payload may have.
func (r *rowReader) event(ev *Event, t *tuple, committed instant, limit int64) error {
	m := &relay.Message{Size: relay.MessageOverhead}
	if err := readHead(m, t); err != nil {
		return err
	}
	available, err := t.instant(columnAvailableAt, beginningOfTime)
	if err != nil {
		return err
	}
	ev.Message = m
	ev.Pending = t.values[columnSentAt].null && t.values[columnDeadAt].null
	ev.Due = available <= committed
	if !ev.Due {
		ev.AvailableAt = available.time()
	}
	r.plain(m, t)
	if ev.Pending && ev.Due && m.Defect == nil {
		content(m, t, limit)
	}
	return nil
}

// readHead reads what names the row and what is said of it.
func readHead(m *relay.Message, t *tuple) error {
	var err error
	if m.ID, err = strconv.ParseInt(string(t.values[columnID].text), 10, 64); err != nil {
		return fmt.Errorf("%w: column id is not a number", ErrProtocol)
	}
	if m.MessageID, err = relay.ParseMessageID(string(t.values[columnMessageID].text)); err != nil {
		return fmt.Errorf("%w: column message_id is not a uuid", ErrProtocol)
	}
	if a := t.values[columnAttempts]; !a.null {
		if m.Attempts, err = strconv.Atoi(string(a.text)); err != nil {
			return fmt.Errorf("%w: column attempts is not a number", ErrProtocol)
		}
	}
	created, err := t.instant(columnCreatedAt, beginningOfTime)
	m.CreatedAt = created.time()
	return err
}

// instant reads a timestamp; missing stands for NULL.
func (t *tuple) instant(c column, missing instant) (instant, error) {
	if t.values[c].null {
		return missing, nil
	}
	i, err := parseInstant(t.values[c].text)
	if err != nil {
		return 0, fmt.Errorf("column %s: %w", c, err)
	}
	return i, nil
}

// plain reads the columns of text and counts them, with the headers.
func (r *rowReader) plain(m *relay.Message, t *tuple) {
	topic, key, contentType := &t.values[columnTopic], &t.values[columnKey], &t.values[columnContentType]
	length := int64(topic.length) + int64(key.length) + int64(contentType.length) + headerSize(t)
	if length > relay.MaxPlain {
		m.Defect = relay.PlainTooLarge(length)
		return
	}
	m.Size += length
	if string(topic.text) != r.topic {
		r.topic = string(topic.text)
	}
	if string(contentType.text) != r.contentType {
		r.contentType = string(contentType.text)
	}
	m.Topic, m.ContentType = r.topic, r.contentType
	if !key.null {
		m.Key, m.Keyed = string(key.text), true
	}
}

// headerSize is what the headers take in memory, in bytes.
func headerSize(t *tuple) int64 {
	if length := t.values[columnHeaders].length; length > len("{}") {
		return relay.HeaderCost * int64(length)
	}
	return 0
}

// content reads headers and payload.
func content(m *relay.Message, t *tuple, limit int64) {
	if t.payloadLength > limit {
		m.Defect = relay.PayloadTooLarge(t.payloadLength, limit)
		return
	}
	m.Size += t.payloadLength
	if t.payload == nil {
		m.Defect = relay.ErrNoPayload
		return
	}
	headers, err := relay.ParseHeaders(t.values[columnHeaders].text)
	if err != nil {
		m.Defect = err
		return
	}
	m.Headers = headers
	m.Note = relay.TraceNote(headers)
	m.Payload = t.payload
}

// payloadLimit is what a payload may have, in bytes, where the broker takes
// limit; 0 is no limit.
func payloadLimit(limit int64) int64 {
	if limit <= 0 {
		return relay.MaxPayload
	}
	return min(limit, relay.MaxPayload)
}
