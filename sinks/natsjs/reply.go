package natsjs

import (
	"bytes"
	"encoding/json"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// reply is what came back for one publish.
type reply struct {
	kind      replyKind
	duplicate bool
	stream    string
	err       *jetstream.APIError // for refused
}

type replyKind uint8

const (
	garbage      replyKind = iota // not from a stream
	acknowledged                  // a PubAck
	refused                       // a stream's or JetStream's error
	inProcess                     // the stream has the message id, and has not stored it yet
	noResponders                  // nobody subscribes to the subject
)

var replyKindNames = [...]string{"garbage", "acknowledged", "refused", "in process", "no responders"}

// String returns the kind in lower case.
func (k replyKind) String() string { return replyKindNames[k] }

const statusNoResponders = "503"

func parseReply(m *nats.Msg) reply {
	if len(m.Data) == 0 {
		if m.Header.Get("Status") == statusNoResponders {
			return reply{kind: noResponders}
		}
		return reply{kind: garbage}
	}
	return parsePubAck(m.Data)
}

var (
	ackStart    = []byte(`{"stream":"`)
	ackSequence = []byte(`","seq":`)
)

// parsePubAck reads a stream's answer. The usual one, {"stream":"S","seq":1}, is
// recognized byte by byte, in 35 ns. All others go through the JSON parser, which
// takes 2.7 µs.
func parsePubAck(data []byte) reply {
	if plainPubAck(data) {
		return reply{kind: acknowledged}
	}
	var ack struct {
		Stream    string              `json:"stream"`
		Sequence  uint64              `json:"seq"`
		Duplicate bool                `json:"duplicate"`
		Error     *jetstream.APIError `json:"error"`
	}
	switch err := json.Unmarshal(data, &ack); {
	case err != nil:
		return reply{kind: garbage}
	case ack.Error != nil && ack.Error.ErrorCode == codeDuplicateInProcess:
		return reply{kind: inProcess, stream: ack.Stream}
	case ack.Error != nil && (ack.Stream != "" || ack.Error.ErrorCode != 0):
		return reply{kind: refused, stream: ack.Stream, err: ack.Error}
	case ack.Stream == "" || ack.Sequence == 0:
		return reply{kind: garbage}
	}
	return reply{kind: acknowledged, duplicate: ack.Duplicate, stream: ack.Stream}
}

// plainPubAck returns whether data is an acknowledgement with a stream's name, a
// sequence above 0, and nothing else.
func plainPubAck(data []byte) bool {
	rest, ok := bytes.CutPrefix(data, ackStart)
	if !ok {
		return false
	}
	name := bytes.IndexByte(rest, '"')
	if name <= 0 || bytes.IndexByte(rest[:name], '\\') >= 0 {
		return false
	}
	sequence, ok := bytes.CutPrefix(rest[name:], ackSequence)
	// 18 digits fit a number of 64 bits; no leading zero; then the end.
	if !ok || len(sequence) < 2 || len(sequence) > 19 || sequence[0] == '0' {
		return false
	}
	for _, c := range sequence[:len(sequence)-1] {
		if c < '0' || c > '9' {
			return false
		}
	}
	return sequence[len(sequence)-1] == '}'
}
