package tail

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"testing/iotest"

	"github.com/outbox-relay/outbox-relay/schema"
)

// What pgoutput sends, built by hand where the real one does not make it wrong
// enough.

var testTable = schema.Table{Schema: "public", Name: "outbox"}

func newTestDecoder() *decoder {
	return &decoder{table: testTable, limit: func() int64 { return 0 }}
}

// held is a message in memory, streamed one that comes in pieces: byte by byte,
// where it is not too long for that.
func held(b []byte) *input { return &input{held: b} }

func streamed(b []byte) *input {
	pieces := iotest.OneByteReader(bytes.NewReader(b))
	if len(b) > 1<<16 {
		pieces = iotest.HalfReader(bytes.NewReader(b))
	}
	return &input{rest: bufio.NewReaderSize(pieces, 16), left: len(b)}
}

type wireColumn struct {
	name string
	oid  uint32
}

// wireColumns are those of the table, in an order of their own.
func wireColumns() []wireColumn {
	var list []wireColumn
	for c := range columns {
		list = append(list, wireColumn{columnSpecs[c].name, columnSpecs[c].types[0]})
	}
	return list
}

func relationMessage(id uint32, table schema.Table, list []wireColumn) []byte {
	b := binary.BigEndian.AppendUint32([]byte{'R'}, id)
	b = fmt.Appendf(b, "%s\x00%s\x00d", table.Schema, table.Name)
	b = binary.BigEndian.AppendUint16(b, uint16(len(list)))
	for _, c := range list {
		b = fmt.Appendf(b, "\x00%s\x00", c.name)
		b = binary.BigEndian.AppendUint32(b, c.oid)
		b = binary.BigEndian.AppendUint32(b, 0xffffffff)
	}
	return b
}

func beginMessage(xid uint32, committed instant) []byte {
	b := binary.BigEndian.AppendUint64([]byte{'B'}, 4711)
	b = binary.BigEndian.AppendUint64(b, uint64(committed))
	return binary.BigEndian.AppendUint32(b, xid)
}

func commitMessage() []byte {
	b := []byte{'C', 0}
	for _, n := range []uint64{4711, 4800, 0} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return b
}

// insertMessage has the values in the order of wireColumns; a nil one is NULL.
func insertMessage(id uint32, values ...[]byte) []byte {
	b := append(binary.BigEndian.AppendUint32([]byte{'I'}, id), 'N')
	b = binary.BigEndian.AppendUint16(b, uint16(len(values)))
	for _, v := range values {
		if v == nil {
			b = append(b, valueNull)
			continue
		}
		b = append(b, valueText)
		b = binary.BigEndian.AppendUint32(b, uint32(len(v)))
		b = append(b, v...)
	}
	return b
}

// textRow is a row whose values a test changes by their column.
type textRow [columns][]byte

func newTextRow() textRow {
	return textRow{
		columnID:          []byte("42"),
		columnMessageID:   []byte("6f9619ff-8b86-d011-b42d-00c04fc964ff"),
		columnTopic:       []byte("orders.created"),
		columnKey:         []byte("order-7"),
		columnPayload:     []byte(`{"a": 1}`),
		columnContentType: []byte("application/json"),
		columnHeaders:     []byte(`{"b": "2", "a": "1"}`),
		columnCreatedAt:   []byte("2024-02-29 12:34:56.789+00"),
		columnAttempts:    []byte("0"),
	}
}

func (r textRow) message(id uint32) []byte { return insertMessage(id, r[:]...) }
