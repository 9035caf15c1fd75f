package tail

import (
	"fmt"

	"github.com/outbox-relay/outbox-relay/relay"
)

// tuple is one row as the log has it. The values may point into the message and are
// valid only until the next one; the payload is a copy. A column that the table lacks
// is NULL.
type tuple struct {
	values [columns]relay.Value
}

// The kinds of value in a tuple.
const (
	valueNull      = 'n'
	valueText      = 't'
	valueBinary    = 'b'
	valueUnchanged = 'u' // a TOASTed value that an update left as it was
)

// readTuple reads the columns that the relay needs and skips the others, and a payload
// longer than limit.
func readTuple(in *input, l *layout, limit int64) tuple {
	var t tuple
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
			t.values[c] = readPayload(in, l, length, limit)
		case length > relay.MaxPlain:
			t.values[c] = relay.Value{Set: true, Length: int64(length)}
			in.skip(length)
		default:
			t.values[c] = relay.Value{Set: true, Bytes: in.next(length), Length: int64(length)}
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

// readPayload reads a payload, or passes over one that is longer than limit.
func readPayload(in *input, l *layout, length int, limit int64) relay.Value {
	digits, v := length, relay.Value{Set: true, Length: int64(length)}
	if l.bytea {
		if prefix := in.next(2); in.err == nil && string(prefix) != `\x` {
			in.fail(fmt.Errorf("%w: a bytea payload that is not in hexadecimal digits", ErrProtocol))
		}
		digits = length - 2
		v.Length = int64(digits / 2)
	}
	switch {
	case v.Length > limit:
		in.skip(digits)
	case l.bytea:
		v.Bytes = in.decodedHex(digits)
	default:
		v.Bytes = in.copied(digits)
	}
	return v
}
