package tail

import (
	"fmt"
	"slices"
	"strings"

	"github.com/outbox-relay/outbox-relay/schema"
)

// column is a column of the outbox table that the relay reads from the log.
type column int8

// The columns of the wire; other is any that the application has added.
const (
	other column = iota - 1
	columnID
	columnMessageID
	columnTopic
	columnKey
	columnPayload
	columnContentType
	columnHeaders
	columnCreatedAt
	columnAvailableAt
	columnSentAt
	columnAttempts
	columnDeadAt
	columns // how many
)

// Type ids, from PostgreSQL's pg_type.dat. Those of users' types follow.
const (
	oidBytea       = 17
	oidInt8        = 20
	oidInt4        = 23
	oidText        = 25
	oidJSON        = 114
	oidVarchar     = 1043
	oidTimestamptz = 1184
	oidUUID        = 2950
	oidJSONB       = 3802
)

// columnSpecs are the columns' names and the types that they may have.
var columnSpecs = [columns]struct {
	name  string
	types []uint32
	words string
}{
	columnID:          {"id", []uint32{oidInt8}, "bigint"},
	columnMessageID:   {"message_id", []uint32{oidUUID}, "uuid"},
	columnTopic:       {"topic", []uint32{oidText, oidVarchar}, "text"},
	columnKey:         {"key", []uint32{oidText, oidVarchar}, "text"},
	columnPayload:     {"payload", []uint32{oidJSON, oidJSONB, oidText, oidVarchar, oidBytea}, "json, jsonb, text or bytea"},
	columnContentType: {"content_type", []uint32{oidText, oidVarchar}, "text"},
	columnHeaders:     {"headers", []uint32{oidJSONB}, "jsonb"},
	columnCreatedAt:   {"created_at", []uint32{oidTimestamptz}, "timestamp with time zone"},
	columnAvailableAt: {"available_at", []uint32{oidTimestamptz}, "timestamp with time zone"},
	columnSentAt:      {"sent_at", []uint32{oidTimestamptz}, "timestamp with time zone"},
	columnAttempts:    {"attempts", []uint32{oidInt4}, "integer"},
	columnDeadAt:      {"dead_at", []uint32{oidTimestamptz}, "timestamp with time zone"},
}

// String returns the column's name.
func (c column) String() string {
	if c < 0 || c >= columns {
		return "of the application"
	}
	return columnSpecs[c].name
}

// columnNamed returns the column of the wire with that name, or other.
func columnNamed(name string) column {
	for c := range columns {
		if columnSpecs[c].name == name {
			return c
		}
	}
	return other
}

// typeID is the OID of a type.
type typeID uint32

// relation is a Relation message: what the tuples of a table look like from here
// on. PostgreSQL sends one before a table's first row and after each change of
// its shape.
type relation struct {
	id     uint32
	schema string
	name   string
	names  []string // of the columns, in the order of the tuples
	types  []typeID
}

// maxColumns is how many columns a table can have at most; PostgreSQL's limit is
// 1,600.
const maxColumns = 2048

func readRelation(in *input) relation {
	r := relation{id: in.uint32(), schema: in.name(), name: in.name()}
	if r.schema == "" {
		r.schema = "pg_catalog" // sent as the empty name
	}
	in.skip(1) // the replica identity, which is about updates
	n := int(in.uint16())
	if n > maxColumns {
		in.fail(fmt.Errorf("%w: a relation of %d columns", ErrProtocol, n))
	}
	for range n {
		in.skip(1) // whether it is part of that identity
		name, oid := in.name(), in.uint32()
		in.skip(4) // the type's modifier
		if in.err != nil {
			return relation{}
		}
		r.names = append(r.names, name)
		r.types = append(r.types, typeID(oid))
	}
	return r
}

// layout says where the columns of the wire are in the table's tuples.
type layout struct {
	relation uint32
	columns  []column // of each position of a tuple
	bytea    bool     // the payload's text is hexadecimal digits
}

// newLayout finds the columns of the wire. What is missing or of another type is
// named in the error, an [UnavailableError] with [ReasonShape].
func newLayout(table schema.Table, domains map[typeID]typeID, r relation) (*layout, error) {
	l := &layout{relation: r.id, columns: make([]column, len(r.names))}
	var found [columns]bool
	var faults []string
	for i, name := range r.names {
		c := columnNamed(name)
		l.columns[i] = c
		if c == other {
			continue
		}
		found[c] = true
		is := r.types[i]
		if base, ok := domains[is]; ok {
			is = base
		}
		if spec := columnSpecs[c]; !slices.Contains(spec.types, uint32(is)) {
			faults = append(faults, fmt.Sprintf("column %s is of another type (oid %d), expected %s", c, r.types[i], spec.words))
		}
		if c == columnPayload {
			l.bytea = is == oidBytea
		}
	}
	for c, ok := range found {
		if !ok {
			faults = append(faults, fmt.Sprintf("column %s is missing", column(c)))
		}
	}
	if len(faults) > 0 {
		return nil, &UnavailableError{
			Reason: ReasonShape,
			Text: fmt.Sprintf("the log shows table %s in another shape: %s: run outbox-relay migrate, "+
				"and give its publication no column list", table, strings.Join(faults, "; ")),
		}
	}
	return l, nil
}
