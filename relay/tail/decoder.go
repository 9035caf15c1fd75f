package tail

import (
	"fmt"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/wal"
	"github.com/outbox-relay/outbox-relay/schema"
)

// decoder reads the messages of pgoutput, protocol version 1 (PostgreSQL's
// documentation, "Logical Replication Message Formats"): whole transactions in
// the order of their commits. It needs no connection and never panics.
type decoder struct {
	table schema.Table
	// domains are the base types of the types of users that the table has.
	domains map[typeID]typeID
	// limit is what the broker takes, asked for each row; 0 is no limit.
	limit func() int64

	layout *layout // of the table, as the log last told; nil before
	rows   relay.RowReader

	// Between a Begin and its Commit.
	open      bool
	xid       wal.XID
	committed instant
}

// decode reads one message, at the position lsn. ok is false if it says nothing about
// the table. After an error the decoder is of no use.
func (d *decoder) decode(in *input, lsn wal.LSN) (ev Event, ok bool, err error) {
	switch kind := in.byte(); kind {
	case 'B':
		ev, err = d.begin(in)
		ok = true
	case 'C':
		ev, err = d.commit(in)
		ok = true
	case 'R':
		err = d.relation(in)
	case 'I':
		ev, ok, err = d.insert(in, lsn)
	case 'O', 'Y', 'U', 'D', 'T', 'M':
		// Origins, types and logical messages do not matter here. A publication may send
		// updates and deletes too, which are the relay's own marks.
	default:
		in.fail(fmt.Errorf("%w: of the unknown kind %q", ErrProtocol, kind))
	}
	in.end()
	// If the message ends too early, that is the cause of any other error.
	if in.err != nil {
		err = in.err
	}
	return ev, ok && err == nil, err
}

func (d *decoder) begin(in *input) (Event, error) {
	if d.open {
		return Event{}, fmt.Errorf("%w: a transaction begins within another", ErrProtocol)
	}
	lsn := wal.LSN(in.uint64())
	d.committed = instant(in.uint64())
	d.xid = wal.XID(in.uint32())
	d.open = true
	return Event{Kind: Begin, LSN: lsn, XID: d.xid, CommitTime: d.committed.time()}, nil
}

func (d *decoder) commit(in *input) (Event, error) {
	if !d.open {
		return Event{}, fmt.Errorf("%w: a commit without a transaction", ErrProtocol)
	}
	d.open = false
	in.skip(1 + 8) // unused flags, and the position of the commit
	return Event{Kind: Commit, LSN: wal.LSN(in.uint64()), XID: d.xid, CommitTime: d.committed.time()}, nil
}

// relation keeps the layout of our table, and drops it when another table has taken
// over its id. PostgreSQL sends the relation of a renamed table again before its next
// row.
func (d *decoder) relation(in *input) error {
	r := readRelation(in)
	if in.err != nil {
		return in.err
	}
	if r.schema != d.table.Schema || r.name != d.table.Name {
		if d.layout != nil && d.layout.relation == r.id {
			d.layout = nil
		}
		return nil
	}
	var err error
	d.layout, err = newLayout(d.table, d.domains, r)
	return err
}

func (d *decoder) insert(in *input, lsn wal.LSN) (Event, bool, error) {
	if !d.open {
		return Event{}, false, fmt.Errorf("%w: a row without a transaction", ErrProtocol)
	}
	if id := in.uint32(); in.err != nil || d.layout == nil || id != d.layout.relation {
		return Event{}, false, in.err
	}
	if kind := in.byte(); kind != 'N' {
		return Event{}, false, fmt.Errorf("%w: an insert with a tuple of the kind %q", ErrProtocol, kind)
	}
	limit := relay.PayloadLimit(d.limit())
	t := readTuple(in, d.layout, limit)
	if in.err != nil {
		return Event{}, false, in.err
	}
	ev := Event{Kind: Row, LSN: lsn, XID: d.xid, CommitTime: d.committed.time()}
	if err := d.describeRow(&ev, &t, limit); err != nil {
		return Event{}, false, err
	}
	return ev, true, nil
}
