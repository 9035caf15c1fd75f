package natsjs

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay"
)

// Header names of a published message.
const (
	headerMessageID   = "Nats-Msg-Id"
	headerContentType = "Content-Type"
	headerKey         = "Outbox-Key"
)

// Limits that the server does not tell. If a line is over the first one,
// max_control_line, the server closes the connection. (If a lower value is configured,
// a message with a long topic ends each connection that it is sent on.) A stream
// refuses messages whose headers are over the second one.
const (
	maxControlLine = 4096
	maxHeaderBytes = math.MaxUint16
)

// limits are what a message is measured against.
type limits struct {
	payload int64 // the configured limit for the payload; 0: none
	message int64 // the server's limit for headers and payload; 0: not known yet
	inbox   string
}

// validate checks that the message would arrive unchanged and not end the
// connection. It returns the message's size on the wire, in bytes, or an error that
// wraps relay.ErrInvalid or relay.ErrTooLarge.
func validate(m *relay.Message, l limits) (size int64, err error) {
	if err := relay.Validate(m); err != nil {
		return 0, err
	}
	if err := checkTopic(m.Topic, l.inbox); err != nil {
		return 0, fmt.Errorf("%w: topic %s: %w", relay.ErrInvalid, relay.Quote(m.Topic), err)
	}
	if err := checkHeaders(m); err != nil {
		return 0, fmt.Errorf("%w: %w", relay.ErrInvalid, err)
	}
	headers, payload := headerSize(m), int64(len(m.Payload))
	switch {
	case headers > maxHeaderBytes:
		return 0, fmt.Errorf("%w: headers take %d bytes, a stream takes %d", relay.ErrTooLarge, headers, maxHeaderBytes)
	case l.payload > 0 && payload > l.payload:
		return 0, fmt.Errorf("%w: payload of %d bytes, the limit is %d", relay.ErrTooLarge, payload, l.payload)
	case l.message > 0 && headers+payload > l.message:
		return 0, fmt.Errorf("%w: %d bytes of headers and %d of payload, the server's max_payload is %d",
			relay.ErrTooLarge, headers, payload, l.message)
	}
	return headers + payload, nil
}

var (
	errEmptyToken = errors.New("has an empty token: want tokens separated by single dots")
	errWildcard   = errors.New("contains a wildcard, * or >: publish to one subject")
	errSpace      = errors.New("contains a space")
	errReserved   = errors.New("is reserved for the server: want a subject of your own")
	errLongTopic  = errors.New("is longer than the server's max_control_line allows")
)

// reservedTokens are first tokens of a topic that have a meaning for servers or
// clients.
var reservedTokens = [...]string{"_INBOX", "_R_", "_GR_"}

func checkTopic(topic, inbox string) error {
	if topic == "" {
		return errors.New("is empty: name a subject")
	}
	if err := checkTokens(topic); err != nil {
		return err
	}
	first, _, _ := strings.Cut(topic, ".")
	for _, reserved := range reservedTokens {
		if first == reserved {
			return errReserved
		}
	}
	// $JS, $SYS, $KV and what the server may add.
	if topic[0] == '$' || topic == inbox || inbox != "" && strings.HasPrefix(topic, inbox+".") {
		return errReserved
	}
	// The line: subject, reply (inbox, 22 random characters, ticket), two sizes.
	line := len(topic) + max(len(inbox), len("_INBOX")) + 1 + 22 + 1 + ticketBytes + 3 + 2*10
	if line > maxControlLine {
		return errLongTopic
	}
	return nil
}

// fitsBatch returns whether the longer reply subject of a batch fits beside the topic.
func fitsBatch(topic, inbox string) bool {
	return len(topic)+1+len(inbox)+maxBatchReply+3+2*10 <= maxControlLine
}

// checkTokens checks the form of a subject without wildcards. Control characters are
// checked elsewhere.
func checkTokens(subject string) error {
	if subject[0] == '.' {
		return errEmptyToken
	}
	for i := range len(subject) {
		switch subject[i] {
		case '.':
			if i+1 == len(subject) || subject[i+1] == '.' {
				return errEmptyToken
			}
		case '*', '>':
			// Within a token * and > are no wildcards (ADR-6 forbids them). But a
			// stream or a permission that somebody writes for such a subject would have
			// wildcards.
			return errWildcard
		case ' ', '\t', '\r', '\n':
			return errSpace
		}
	}
	return nil
}

// headerName marks the bytes that a header name may have: those that the client
// library allows, and that every client can read.
var headerName = func() (set [256]bool) {
	for c := 33; c <= 126; c++ {
		set[c] = !strings.ContainsRune(`"()/,:;<=>?@[\]{}`, rune(c))
	}
	return set
}()

func checkHeaders(m *relay.Message) error {
	if m.Keyed && trimmed(m.Key) {
		return fmt.Errorf("key %s begins or ends with a space, which NATS strips: remove it", relay.Quote(m.Key))
	}
	if trimmed(m.ContentType) {
		return fmt.Errorf("content_type %s begins or ends with a space, which NATS strips: remove it", relay.Quote(m.ContentType))
	}
	for _, h := range m.Headers {
		if strings.EqualFold(h.Name, "Status") || strings.EqualFold(h.Name, "Description") {
			// Clients take an empty message with a status for one of the server's own, and
			// do not deliver it. Some of them read names without regard to case.
			return fmt.Errorf("header %s is reserved for the server: rename it", relay.Quote(h.Name))
		}
		for i := range len(h.Name) {
			if !headerName[h.Name[i]] {
				return fmt.Errorf("header name %s: NATS takes ASCII letters, digits and !#$%%&'*+-.^_`|~: rename it", relay.Quote(h.Name))
			}
		}
		if trimmed(h.Value) {
			return fmt.Errorf("header %s has a value that begins or ends with a space, which NATS strips: remove it", relay.Quote(h.Name))
		}
	}
	return nil
}

// trimmed returns whether the protocol would strip spaces from a header's value.
func trimmed(s string) bool {
	return s != "" && (s[0] == ' ' || s[len(s)-1] == ' ')
}

// headerSize is the length of the header block that the client library writes:
// its first line, a line "name: value" each, and an empty line.
func headerSize(m *relay.Message) int64 {
	const line = len(": \r\n")
	n := len("NATS/1.0\r\n") + len("\r\n") + len(headerMessageID) + 36 + line
	if m.ContentType != "" {
		n += len(headerContentType) + len(m.ContentType) + line
	}
	if m.Keyed {
		n += len(headerKey) + len(m.Key) + line
	}
	for _, h := range m.Headers {
		n += len(h.Name) + len(h.Value) + line
	}
	return int64(n)
}
