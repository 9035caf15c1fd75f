package relay

import (
	"errors"
	"fmt"
)

// What reading a row takes for granted, however it is read: by a sweep or from
// the write-ahead log. A row must get the same message, or the same defect,
// whichever way it comes.
const (
	// HeaderCost is what a byte of headers as JSON costs in memory, in bytes: the
	// shortest pair, `"a": "", `, becomes a struct of two strings.
	HeaderCost = 4
	// MaxPlain bounds everything of a row but the payload, counted as in memory, in
	// bytes. No broker takes as much in subjects and headers.
	MaxPlain = 4 << 20
	// MaxPayload is what PostgreSQL can send in one row (1 GB), with room for the
	// other columns. It is the limit where the broker sets none.
	MaxPayload = 1_000_000_000
)

// ErrNoPayload is the Defect of a row without a payload.
var ErrNoPayload = errors.New("the payload is NULL: give the row one, at least an empty one")

// PayloadTooLarge is the Defect of a row whose payload takes length bytes, or at
// least so many, while the broker takes limit.
func PayloadTooLarge(length, limit int64) error {
	return fmt.Errorf("the payload takes %d bytes or more, the limit is %d: %w", length, limit, ErrTooLarge)
}

// PlainTooLarge is the Defect of a row that takes length bytes, or at least so
// many, beside its payload.
func PlainTooLarge(length int64) error {
	return fmt.Errorf("topic, key, content type and headers together take %d bytes or more, the limit is %d: %w",
		length, MaxPlain, ErrTooLarge)
}
