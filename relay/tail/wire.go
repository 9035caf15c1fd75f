package tail

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
)

// maxMessage is the longest message of the protocol, in bytes: PostgreSQL's own
// limit is 1 GB.
const maxMessage = 1<<30 + 1<<20

// peekHead waits for the head of the next message and leaves it in the buffer.
// length is that of the body.
func peekHead(r *bufio.Reader) (kind byte, length int, err error) {
	head, err := r.Peek(headLength)
	if err != nil {
		return 0, 0, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n < 4 || n > maxMessage {
		return 0, 0, fmt.Errorf("%w: its length is %d", ErrProtocol, n)
	}
	return head[0], int(n) - 4, nil
}

// message is one message of the protocol. Its body has to be read, or skipped,
// before the next one.
type message struct {
	kind byte
	body input
	// held is how many bytes of it are in the buffer, to be discarded.
	held int
}

// errInterrupted: the caller's context ended while nothing came. The connection
// stands between two messages, as before.
var errInterrupted = errors.New("interrupted")

// next waits for the next message. What fits the buffer is held there whole.
func (l *link) next(ctx context.Context) (message, error) {
	if !l.whole() {
		defer l.interruptible(ctx)()
	}
	kind, length, err := peekHead(l.buffer)
	m := message{kind: kind}
	total := headLength + length
	switch {
	case err != nil:
	case total <= l.buffer.Size():
		var b []byte
		if b, err = l.buffer.Peek(total); err == nil {
			m.body.held, m.held = b[headLength:], total
		}
	default:
		_, err = l.buffer.Discard(headLength)
		m.body.rest, m.body.left = l.buffer, length
	}
	if err != nil && l.interrupted.Load() {
		err = errInterrupted // nothing has been taken from the buffer
	}
	return m, err
}

// whole says whether the next message can be read without waiting.
func (l *link) whole() bool {
	if l.buffer.Buffered() < headLength {
		return false
	}
	_, length, err := peekHead(l.buffer)
	return err == nil && l.buffer.Buffered() >= headLength+length
}

// done skips what is left of the message.
func (l *link) done(m *message) error {
	m.body.end()
	if m.held > 0 {
		_, err := l.buffer.Discard(m.held)
		m.held = 0
		return err
	}
	return m.body.err
}

// all returns the rest of a message that is not a row, such as an error.
func (m *message) all() ([]byte, error) {
	const most = 1 << 20
	n := len(m.body.held) + m.body.left
	if n > most {
		return nil, fmt.Errorf("%w: %d bytes of kind %q", ErrProtocol, n, m.kind)
	}
	b := m.body.next(n)
	return b, m.body.err
}
