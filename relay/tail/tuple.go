package tail

import (
	"fmt"

	"github.com/outbox-relay/outbox-relay/relay"
)

// tuple is one row as the log has it. The values may be parts of the message and
// are good only until the next one; the payload is a copy.
type tuple struct {
	values  [columns]value
	payload []byte // nil where it is NULL or over the limit
	// payloadLength is how many bytes the payload has, also where it was skipped.
	payloadLength int64
}

// value is a column's text. What is too long to be of use has only a length.
type value struct {
	text   []byte
	length int
	null   bool
}

// The kinds of value in a tuple.
const (
	valueNull      = 'n'
	valueText      = 't'
	valueBinary    = 'b'
	valueUnchanged = 'u' // a TOASTed value that an update left as it was
)

// readTuple reads the values of the wire and passes over the others. A payload
// longer than limit is passed over too.
func readTuple(in *input, l *layout, limit int64) tuple {
	var t tuple
	for i := range t.values {
		t.values[i].null = true
	}
	if n := int(in.uint16()); n != len(l.columns) && in.err == nil {
		in.fail(fmt.Errorf("%w: a row of %d columns, its relation has %d", ErrProtocol, n, len(l.columns)))
	}
	for _, c := range l.columns {
		if in.err != nil {
			break
		}
		length, ok := readLength(in, c)
		switch {
		case !ok:
		case c == other:
			in.skip(length)
		case c == columnPayload:
			t.values[c].null = false
			t.readPayload(in, l, length, limit)
		case length > relay.MaxPlain:
			t.values[c] = value{length: length}
			in.skip(length)
		default:
			t.values[c] = value{text: in.next(length), length: length}
		}
	}
	if in.err != nil {
		return tuple{}
	}
	return t
}

// readLength reads the head of a value; ok is false where nothing follows.
func readLength(in *input, c column) (length int, ok bool) {
	switch kind := in.byte(); kind {
	case valueText:
		return int(int32(in.uint32())), in.err == nil
	case valueNull:
		return 0, false
	case valueUnchanged:
		if c != other {
			in.fail(fmt.Errorf("%w: an inserted row lacks its column %s", ErrProtocol, c))
		}
		return 0, false
	case valueBinary:
		in.fail(fmt.Errorf("%w: column %s comes in binary, which was not asked for", ErrProtocol, c))
		return 0, false
	default:
		in.fail(fmt.Errorf("%w: a value of the unknown kind %q", ErrProtocol, kind))
		return 0, false
	}
}

func (t *tuple) readPayload(in *input, l *layout, length int, limit int64) {
	digits := length
	if l.bytea {
		if prefix := in.next(2); in.err == nil && string(prefix) != `\x` {
			in.fail(fmt.Errorf("%w: a bytea payload that is not in hexadecimal digits", ErrProtocol))
		}
		digits = length - 2
		t.payloadLength = int64(digits / 2)
	} else {
		t.payloadLength = int64(length)
	}
	switch {
	case t.payloadLength > limit:
		in.skip(digits)
	case l.bytea:
		t.payload = in.unhexed(digits)
	default:
		t.payload = in.copied(digits)
	}
}
