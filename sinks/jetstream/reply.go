package jetstream

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
	err       *jetstream.APIError // of refused
}

type replyKind uint8

const (
	garbage      replyKind = iota // not from a stream
	acknowledged                  // a PubAck
	refused                       // a stream's or JetStream's error
	noResponders                  // nobody has the subject
)

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
	ackStart     = []byte(`{"stream":"`)
	ackSequence  = []byte(`"seq":`)
	ackError     = []byte(`"error"`)
	ackDuplicate = []byte(`"duplicate"`)
)

// parsePubAck reads a stream's answer. The ordinary one, {"stream":"S","seq":1},
// is known by its start and by what it does not contain: no quote can be
// within the names, JSON writes \". All others go through the JSON parser, which
// costs a microsecond and was a seventh of the sink's time.
func parsePubAck(data []byte) reply {
	if bytes.HasPrefix(data, ackStart) && data[len(data)-1] == '}' &&
		!bytes.Contains(data, ackError) && !bytes.Contains(data, ackDuplicate) && plainSequence(data) {
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
	case ack.Error != nil:
		return reply{kind: refused, stream: ack.Stream, err: ack.Error}
	case ack.Stream == "" || ack.Sequence == 0:
		return reply{kind: garbage}
	}
	return reply{kind: acknowledged, duplicate: ack.Duplicate, stream: ack.Stream}
}

// plainSequence says whether the stream has a name and a sequence above 0
// follows it.
func plainSequence(data []byte) bool {
	i := bytes.Index(data, ackSequence)
	if i <= len(ackStart)+1 { // the name, its quote and a comma are between
		return false
	}
	first := data[i+len(ackSequence)]
	return first >= '1' && first <= '9'
}
