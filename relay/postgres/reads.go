package postgres

import (
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/schema"
)

// reads are the statements of a read session, made for the table and the type of its
// payload.
type reads struct {
	begin, frame, scheduled, blocked, fetch statement
	// fetchAnywhere finds rows that have another created_at than the scan has read.
	fetchAnywhere statement
	scan          map[scanKind]statement
	// By whether scheduled rows are due; nameless is name where the server fails on the
	// key too.
	name, nameless map[bool]statement
}

// Bounds of how many rows a statement that leaves keys out looks at.
const (
	// examined takes a server some 20 ms.
	examined = 16_384
	// examinedNear is for a statement that asks for the rows of one key, if at least half
	// of the rows were of that key lately. Where the bound is, the server finds out by
	// walking there, so it should not be far beyond the rows that are asked for.
	examinedNear = 2048
)

// maxScheduled is how many due scheduled rows a pass reads. The next pass reads the
// others.
const maxScheduled = 16_384

// scanKind says which of its variants a scan is.
type scanKind struct {
	keys      keyFilter
	scheduled bool // rows that the application has scheduled are due
	topics    bool // no more rows are wanted of some topics; not with onlyKey
	near      bool // the bound is examinedNear; only with onlyKey
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
	Table                    string // quoted
	Due, ScheduledRows, Dead string // conditions
	Payload                  payloadKind
	// The length of a key as it arrives here, and its bytes.
	KeyLength, KeyBytes string
	scanBlanks
	sizeBlanks

	pruning
}

// scanBlanks say which rows a scan reads.
type scanBlanks struct {
	Keys      keyFilter
	Scheduled bool
	Topics    bool // no more rows are wanted of some topics
	Fenced    bool // see parts.sql
	Named     bool // the key can be read
	Block     bool // a dead row blocks its key
	Examined  int64
}

// sizeBlanks are what a row's size is reckoned with.
type sizeBlanks struct {
	JSONBWeight, SmallRow      int64
	Overhead, MaxPlain, MaxKey int64
	HeaderCost                 int64
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
		Table: table.Quoted(),
		Due:   schema.Due, ScheduledRows: schema.Scheduled, Dead: schema.Dead,
		Payload: payload, KeyLength: length, KeyBytes: bytes,
		scanBlanks: scanBlanks{Examined: examined},
		sizeBlanks: sizeBlanks{
			JSONBWeight: jsonbWeight, SmallRow: smallRow,
			Overhead: relay.MessageOverhead, MaxPlain: relay.MaxPlain, MaxKey: relay.MaxKeptKey, HeaderCost: relay.HeaderCost,
		},
	}
}

func newReads(table schema.Table, payload payloadKind, encoding string, l layout, p DeadPolicy) reads {
	blanks := newReadBlanks(table, payload, encoding)
	blanks.Block = p == BlockDead
	r := reads{
		begin:     newStatement("begin", "", blanks),
		frame:     newStatement("frame", "", blanks),
		scheduled: newStatement("scheduled", "", blanks),
		blocked:   newStatement("blocked", "", blanks),
		fetch:     newStatement("fetch", "", blanks),
		scan:      make(map[scanKind]statement),
		name:      make(map[bool]statement),
		nameless:  make(map[bool]statement),
	}
	r.fetchAnywhere = r.fetch
	if l.byTime {
		located := blanks
		located.pruning = l.forRow()
		r.fetch = newStatement("fetch", "_partition", located)
	}
	for _, kind := range scanKinds() {
		blanks.Keys, blanks.Scheduled, blanks.Topics = kind.keys, kind.scheduled, kind.topics
		blanks.Fenced = kind.keys != anyKey || kind.topics || blanks.Block
		blanks.Examined = examined
		if kind.near {
			blanks.Examined = examinedNear
		}
		variant := kind.variant()
		r.scan[kind] = newStatement("scan", variant, blanks)
		if kind.keys != anyKey || kind.topics {
			continue
		}
		blanks.Fenced = false
		blanks.Named = true
		r.name[kind.scheduled] = newStatement("name", variant, blanks)
		blanks.Named = false
		r.nameless[kind.scheduled] = newStatement("name", variant+"_nameless", blanks)
	}
	return r
}

// scanKinds lists the variants that there are.
func scanKinds() []scanKind {
	var kinds []scanKind
	for _, scheduled := range []bool{false, true} {
		for _, keys := range []keyFilter{anyKey, exceptKeys, onlyKey} {
			kinds = append(kinds, scanKind{keys: keys, scheduled: scheduled})
		}
		for _, keys := range []keyFilter{anyKey, exceptKeys} {
			kinds = append(kinds, scanKind{keys: keys, scheduled: scheduled, topics: true})
		}
		kinds = append(kinds, scanKind{keys: onlyKey, scheduled: scheduled, near: true})
	}
	return kinds
}

// variant tells the statements of the kinds apart.
func (k scanKind) variant() string {
	variant := "_" + string(k.keys)
	if k.scheduled {
		variant += "_scheduled"
	}
	if k.topics {
		variant += "_topics"
	}
	if k.near {
		variant += "_near"
	}
	return variant
}
