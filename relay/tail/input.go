package tail

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// ErrProtocol is wrapped by errors about messages that PostgreSQL does not send.
var ErrProtocol = errors.New("malformed replication message")

var errTruncated = fmt.Errorf("%w: it ends too early", ErrProtocol)

// input is one message, read from its beginning to its end: either held in
// memory, or, where it is large, taken off the connection piece by piece, so that
// what nobody wants of it never takes memory.
//
// The first error stays, and everything read after it is zero. So a message is decoded
// to its end and the error checked once; only loops check it earlier.
type input struct {
	held []byte        // what is left of a message in memory
	rest *bufio.Reader // the connection, or nil
	left int           // bytes of the message still on the connection
	err  error
}

// fail keeps the first error.
func (in *input) fail(err error) {
	if in.err == nil {
		in.err = err
	}
}

// next returns the next n bytes, valid until the next call at least. It does not
// allocate more than the message has.
func (in *input) next(n int) []byte {
	switch {
	case in.err != nil:
		return nil
	case in.rest == nil && n >= 0 && n <= len(in.held):
		b := in.held[:n]
		in.held = in.held[n:]
		return b
	case in.rest == nil || n < 0 || n > in.left:
		in.fail(errTruncated)
		return nil
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(in.rest, b); err != nil {
		in.fail(err)
		return nil
	}
	in.left -= n
	return b
}

// copied returns a copy of the next n bytes.
func (in *input) copied(n int) []byte {
	b := in.next(n)
	if in.rest == nil {
		b = bytes.Clone(b)
	}
	if b == nil && in.err == nil {
		b = []byte{}
	}
	return b
}

// decodedHex decodes the next n bytes, which are hexadecimal digits, into new memory.
func (in *input) decodedHex(n int) []byte {
	if n%2 != 0 {
		in.fail(fmt.Errorf("%w: an odd number of hexadecimal digits", ErrProtocol))
	}
	var src io.Reader = in.rest
	if in.rest == nil {
		src = bytes.NewReader(in.next(n))
	} else if n > in.left {
		in.fail(errTruncated)
	}
	if in.err != nil {
		return nil
	}
	b := make([]byte, n/2)
	if _, err := io.ReadFull(hex.NewDecoder(io.LimitReader(src, int64(n))), b); err != nil {
		in.fail(hexFault(err))
		return nil
	}
	if in.rest != nil {
		in.left -= n
	}
	return b
}

// hexFault distinguishes wrong digits from a broken connection.
func hexFault(err error) error {
	if _, ok := errors.AsType[hex.InvalidByteError](err); ok {
		return fmt.Errorf("%w: not hexadecimal digits, is bytea_output hex?", ErrProtocol)
	}
	return err
}

// skip passes over n bytes.
func (in *input) skip(n int) {
	if in.rest == nil {
		in.next(n)
		return
	}
	if in.err == nil && (n < 0 || n > in.left) {
		in.fail(errTruncated)
	}
	if in.err != nil {
		return
	}
	if _, err := in.rest.Discard(n); err != nil {
		in.fail(err)
		return
	}
	in.left -= n
}

// end skips what the decoding left: fields of later versions, and messages that are not
// read.
func (in *input) end() {
	if in.rest != nil {
		in.skip(in.left)
	}
	in.held = nil
}

func (in *input) byte() byte {
	if b := in.next(1); b != nil {
		return b[0]
	}
	return 0
}

func (in *input) uint16() uint16 {
	if b := in.next(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (in *input) uint32() uint32 {
	if b := in.next(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (in *input) uint64() uint64 {
	if b := in.next(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// maxName is longer than any name PostgreSQL has, in bytes.
const maxName = 1024

var errEndless = fmt.Errorf("%w: a name without an end", ErrProtocol)

// name returns a string that ends with a zero byte.
func (in *input) name() string {
	if in.rest == nil {
		end := bytes.IndexByte(in.held, 0)
		if end < 0 || end > maxName {
			in.fail(errEndless)
			return ""
		}
		s := string(in.next(end))
		in.skip(1)
		return s
	}
	var b []byte
	for in.err == nil && len(b) <= maxName && in.left > 0 {
		c := in.byte()
		if c == 0 {
			return string(b)
		}
		b = append(b, c)
	}
	in.fail(errEndless)
	return ""
}
