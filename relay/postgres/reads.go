package postgres

import (
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/schema"
)

// reads are the statements of a sweep, made for the table and the type of its
// payload.
type reads struct {
	begin, frame, scheduled, fetch statement
	scan, name                     map[scanKind]statement
}

// scanKind says which of its variants a scan is.
type scanKind struct {
	keys      keyFilter
	scheduled bool // rows that the application has scheduled are due
}

// keyFilter chooses rows by their keys, in the words of the SQL.
type keyFilter string

const (
	anyKey     keyFilter = "any"
	exceptKeys keyFilter = "except"
	onlyKey    keyFilter = "only"
)

// readBlanks fill in the files of the reads.
type readBlanks struct {
	Table                             string // quoted
	Pending, Due, ScheduledRows, Dead string // conditions
	Keys                              keyFilter
	Scheduled                         bool
	Payload                           payloadKind
	JSONBWeight, SmallRow             int64
	Overhead, MaxPlain, MaxKey        int64
	HeaderCost                        int64
	// The length of a key as it arrives here, and its bytes.
	KeyLength, KeyBytes string
}

// newReadBlanks: encoding is the database's. The server converts a key on its way
// here, unless the encoding is UTF-8 or none.
func newReadBlanks(table schema.Table, payload payloadKind, encoding string) readBlanks {
	length, bytes := `octet_length(o.key)`, `convert_to(o.key, 'UTF8')`
	switch encoding {
	case "UTF8":
	case "SQL_ASCII":
		bytes = `convert_to(o.key, 'SQL_ASCII')`
	default:
		length = `octet_length(` + bytes + `)`
	}
	return readBlanks{
		Table:   table.Quoted(),
		Pending: schema.Pending, Due: schema.Due, ScheduledRows: schema.Scheduled, Dead: schema.Dead,
		Payload: payload, JSONBWeight: jsonbWeight, SmallRow: smallRow,
		Overhead: relay.MessageOverhead, MaxPlain: relay.MaxPlain, MaxKey: relay.MaxKeptKey, HeaderCost: relay.HeaderCost,
		KeyLength: length, KeyBytes: bytes,
	}
}

func newReads(table schema.Table, payload payloadKind, encoding string) reads {
	blanks := newReadBlanks(table, payload, encoding)
	r := reads{
		begin:     newStatement("begin", "", blanks),
		frame:     newStatement("frame", "", blanks),
		scheduled: newStatement("scheduled", "", blanks),
		fetch:     newStatement("fetch", "", blanks),
		scan:      make(map[scanKind]statement),
		name:      make(map[scanKind]statement),
	}
	for _, kind := range []keyFilter{anyKey, exceptKeys, onlyKey} {
		for _, scheduled := range []bool{false, true} {
			blanks.Keys, blanks.Scheduled = kind, scheduled
			variant := "_" + string(kind)
			if scheduled {
				variant += "_scheduled"
			}
			r.scan[scanKind{kind, scheduled}] = newStatement("scan", variant, blanks)
			r.name[scanKind{kind, scheduled}] = newStatement("name", variant, blanks)
		}
	}
	return r
}

// scanArgs says which scan a request calls for, and with which parameters.
func scanArgs(req relay.ChunkRequest, rows int) (scanKind, args) {
	kind := scanKind{anyKey, req.Pass.Scheduled}
	given := args{
		"after": int8Param(req.After), "bound": int8Param(req.Pass.Bound),
		"start": instantParam(req.Pass.Start), "rows": int8Param(int64(rows)),
	}
	switch {
	case req.OnlyKey != nil:
		kind.keys, given["key"] = onlyKey, []byte(*req.OnlyKey)
	case len(req.ExcludeKeys) > 0:
		kind.keys, given["keys"] = exceptKeys, textArray(req.ExcludeKeys)
	}
	return kind, given
}
