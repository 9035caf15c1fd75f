package relay

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// ErrInvalid is wrapped by the error of a message that breaks the rules of the
// wire, whichever broker it goes to.
var ErrInvalid = errors.New("invalid message")

// reservedPrefixes are header names that speak to the broker or for the relay.
// A row that could set them would choose its own message id, roll up a stream
// or pretend to have another key.
var reservedPrefixes = [...]string{"nats-", ownPrefix}

// ownPrefix is that of the relay's own headers.
const ownPrefix = "outbox-"

// reservedContentType has a column of its own; a header beside it would make
// two of them on the wire.
const reservedContentType = "content-type"

// Validate checks what every broker shares: no control characters where they
// could end a header or a frame early, and no reserved header names. A sink
// adds the rules of its own protocol. The error wraps [ErrInvalid], says what
// to change in the row, and contains neither payload nor header values.
//
// Control characters are the ASCII ones, DEL included. A malformed traceparent
// is no error: the message is delivered, and the row noted.
func Validate(m *Message) error {
	if !utf8.ValidString(m.Topic) {
		return invalid("topic %s is not UTF-8", Quote(m.Topic))
	}
	if HasControl(m.Topic) {
		return invalid("topic %s contains a control character: remove it", Quote(m.Topic))
	}
	if m.Keyed && HasControl(m.Key) {
		return invalid("key %s contains a control character: remove it", Quote(m.Key))
	}
	if HasControl(m.ContentType) {
		return invalid("content_type %s contains a control character: remove it", Quote(m.ContentType))
	}
	for _, h := range m.Headers {
		if err := validateHeader(h, m.Own); err != nil {
			return err
		}
	}
	return nil
}

func validateHeader(h Header, own bool) error {
	switch {
	case h.Name == "":
		return invalid("a header has an empty name: name it or remove it")
	case !utf8.ValidString(h.Name):
		return invalid("header name %s is not UTF-8", Quote(h.Name))
	case HasControl(h.Name):
		return invalid("header name %s contains a control character: remove it", Quote(h.Name))
	case HasControl(h.Value):
		return invalid("header %s has a value with a control character (a line break, perhaps): remove or encode it", Quote(h.Name))
	case strings.EqualFold(h.Name, reservedContentType):
		return invalid("header %s is reserved: set the column content_type", Quote(h.Name))
	}
	for _, p := range reservedPrefixes {
		if own && p == ownPrefix {
			continue
		}
		if len(h.Name) >= len(p) && strings.EqualFold(h.Name[:len(p)], p) {
			return invalid("header %s is reserved (%s*): rename it", Quote(h.Name), p)
		}
	}
	return nil
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

// HasControl says whether s contains an ASCII control character.
func HasControl(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == 0x7f {
			return true
		}
	}
	return false
}

// quotedBytes is how much of a value an error shows.
const quotedBytes = 100

// Quote returns a value of a row as an error may show it: quoted, so that a
// control character is seen and cannot forge a line of the log, and cut, so
// that a row cannot blow up last_error.
func Quote(s string) string {
	if len(s) <= quotedBytes {
		return fmt.Sprintf("%q", s)
	}
	cut := quotedBytes
	for cut > quotedBytes-utf8.UTFMax && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return fmt.Sprintf("%q… (%d bytes)", s[:cut], len(s))
}
