package postgres

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// decoder turns raw rows into messages.
type decoder struct {
	slab     slab
	start    int64 // of the pass, in PostgreSQL's microseconds
	limit    int64 // of the payload
	topics   interned
	contents interned
}

func newDecoder(req relay.ChunkRequest) *decoder {
	return &decoder{start: req.Pass.Start.UnixMicro() - postgresEpoch, limit: payloadLimit(req)}
}

// entry reads a row of a scan.
func (d *decoder) entry(row [][]byte, weight int64, expansion float64) entry {
	m := d.head(row)
	if w := int64Of(row[5]); w > smallRow {
		// A payload over the limit will not be fetched and takes no room, but that is
		// known for sure only once it has been measured.
		expected := int64(float64(min(w/weight, d.limit)) * expansion)
		return entry{row: relay.Row{Message: m, Scheduled: row[4] != nil}, large: true, size: relay.MessageOverhead + expected}
	}
	wait := d.wait(row[4])
	d.plain(m, row[6], row[7], row[8])
	m.Size = relay.MessageOverhead + int64(len(row[6])+len(row[7])+len(row[8])+relay.HeaderCost*headerLength(row[9]))
	if wait == 0 {
		d.content(m, row[9], row[10], int64(len(row[10])))
	}
	return entry{row: relay.Row{Message: m, Wait: wait, Scheduled: row[4] != nil}, size: m.Size}
}

// largeEntry reads a row of a fetch.
func (d *decoder) largeEntry(row [][]byte) entry {
	m := d.head(row)
	m.Size = int64Of(row[5])
	wait := d.wait(row[4])
	bloated, fetched := row[9][0] != 0, row[11][0] != 0
	e := entry{row: relay.Row{Message: m, Wait: wait, Scheduled: row[4] != nil}, size: m.Size, excess: !fetched}
	switch {
	case bloated:
		m.Defect = relay.PlainTooLarge(int64Of(row[6]))
		if key := row[13]; key != nil { // so that its key waits until it is dead
			m.Key, m.Keyed = string(key), true
		}
		return e
	case wait > 0 && m.Attempts == 0: // rescheduled by the application since the scan
		e.absent = true
		return e
	}
	d.plain(m, row[12], row[13], row[14])
	if wait == 0 && fetched {
		size := m.Size
		d.content(m, row[15], row[16], int64Of(row[7]))
		m.Size = size
	}
	return e
}

func (d *decoder) head(row [][]byte) *relay.Message {
	m := d.slab.message()
	m.Ref = refOf(row)
	if row[2] != nil {
		m.CreatedAt = instant(int64Of(row[2]))
	}
	m.Attempts = int(int32Of(row[3]))
	return m
}

// unreadable makes a row a defect that the server fails to read.
func unreadable(m *relay.Message, cause error) {
	m.Size = relay.MessageOverhead
	m.Defect = fmt.Errorf("PostgreSQL cannot read the row: %s", serverWords(cause))
}

func (d *decoder) plain(m *relay.Message, topic, key, contentType []byte) {
	m.Topic = d.topics.string(topic)
	m.ContentType = d.contents.string(contentType)
	if key != nil {
		m.Key, m.Keyed = string(key), true
	}
}

// content reads headers and payload, whose length is known also where it was
// not fetched, and adds it to the size.
func (d *decoder) content(m *relay.Message, headers, payload []byte, length int64) {
	if length > d.limit {
		m.Defect = relay.PayloadTooLarge(length, d.limit)
		return
	}
	m.Size += length
	if payload == nil {
		m.Defect = relay.ErrNoPayload
		return
	}
	parsed, err := relay.ParseHeaders(headers)
	if err != nil {
		m.Defect = err
		return
	}
	m.Headers = parsed
	m.Note = relay.TraceNote(parsed)
	if m.Payload = d.slab.copy(payload); m.Payload == nil {
		m.Payload = []byte{}
	}
}

// wait is how long after the start of the pass the row may be tried.
func (d *decoder) wait(available []byte) time.Duration {
	if available == nil {
		return 0
	}
	at := int64Of(available)
	if at <= d.start {
		return 0
	}
	if at-d.start > int64(math.MaxInt64/time.Microsecond) || at-d.start < 0 {
		return math.MaxInt64 // infinity
	}
	return time.Duration(at-d.start) * time.Microsecond
}

func headerLength(b []byte) int {
	if len(b) <= len("{}") {
		return 0
	}
	return len(b)
}

func int64Of(b []byte) int64 { return int64(binary.BigEndian.Uint64(b)) }

func int32Of(b []byte) int32 { return int32(binary.BigEndian.Uint32(b)) }

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
