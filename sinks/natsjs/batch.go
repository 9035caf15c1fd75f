package natsjs

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// batchOp is what a message does in its batch. The reply subject says it (ADR-50,
// fast-ingest).
type batchOp uint8

const (
	opStart  batchOp = iota // the first message
	opAppend                // a further one
	opCommit                // the last one: the server answers when all are stored
	_                       // the end without a message
	opPing                  // no message: it asks the server what it has of the batch
)

var batchOpNames = [...]string{"start", "append", "commit", "end", "ping"}

// String returns the operation in lower case.
func (o batchOp) String() string { return batchOpNames[o] }

// flowEvery is the largest number of messages of a batch that the server acknowledges
// at once. It acknowledges the last one in any case. Measured (BenchmarkLane): numbers
// above 32 change nothing.
const (
	flowEvery     = 64
	flowEveryText = "64"
)

// batchWildcard follows the inbox in the subscription to the replies for batches. It
// has one token each for batch, flow, gap, sequence, operation and suffix.
const batchWildcard = "*.*.*.*.*.$FI"

// maxBatchReply bounds what follows the inbox in a reply subject.
const maxBatchReply = batchPrefixBytes + 1 + 13 + len(".64.fail.") + 20 + len(".0.$FI")

const batchPrefixBytes = 10

// newBatchPrefix makes the beginning of the names of a connection's batches. A stream
// tells batches apart by their names alone, even if different clients send them.
func newBatchPrefix() string { return strings.ToLower(rand.Text()[:batchPrefixBytes]) }

// appendBatchReply appends the reply subject of a message. The "fail" in it makes the
// stream store nothing after a message that it did not store.
func appendBatchReply(b []byte, prefix string, t batchTicket) []byte {
	b = append(append(b, prefix...), '-')
	b = strconv.AppendUint(b, t.batch, 36)
	b = append(b, "."+flowEveryText+".fail."...)
	b = strconv.AppendUint(b, t.sequence, 10)
	return append(b, '.', '0'+byte(t.op), '.', '$', 'F', 'I')
}

// batchTicket names the message that a reply is for.
type batchTicket struct {
	batch, sequence uint64
	op              batchOp
}

func parseBatchReply(prefix, s string) (t batchTicket, ok bool) {
	s, ok = strings.CutPrefix(s, prefix+"-")
	if !ok {
		return t, false
	}
	tokens := strings.Split(s, ".")
	if len(tokens) != 6 || len(tokens[4]) != 1 {
		return t, false
	}
	t.op = batchOp(tokens[4][0] - '0')
	var err error
	if t.batch, err = strconv.ParseUint(tokens[0], 36, 64); err != nil || t.op > opPing {
		return t, false
	}
	t.sequence, err = strconv.ParseUint(tokens[3], 10, 64)
	return t, err == nil
}

// batchReply is what came back for a batch.
type batchReply struct {
	kind batchReplyKind
	// sequence: for progress and concluded, everything up to it is stored, and for
	// concluded nothing after it ever will be; for refusedIn, the message.
	sequence uint64
	every    uint64              // for progress: after how many messages the next one comes
	code     jetstream.ErrorCode // for refusedIn
}

type batchReplyKind uint8

const (
	notOfBatch  batchReplyKind = iota // not from a stream
	progress                          // flow control: an acknowledgement
	concluded                         // the batch has ended: the last acknowledgement
	refusedIn                         // an error of one message, which ends the batch
	gapSeen                           // a message is missing: the last acknowledgement follows
	unclaimedIn                       // no responders: nobody subscribes to the subject of one message
)

var batchReplyKindNames = [...]string{"not of a batch", "progress", "concluded", "refused", "gap", "unclaimed"}

// String returns the kind in lower case.
func (k batchReplyKind) String() string { return batchReplyKindNames[k] }

func parseBatchAnswer(m *nats.Msg) batchReply {
	if len(m.Data) == 0 {
		if m.Header.Get("Status") == statusNoResponders {
			return batchReply{kind: unclaimedIn}
		}
		return batchReply{}
	}
	if sequence, every, ok := plainProgress(m.Data); ok {
		return batchReply{kind: progress, sequence: sequence, every: every}
	}
	return parseBatchJSON(m.Data)
}

func parseBatchJSON(data []byte) batchReply {
	var a struct {
		Type     string              `json:"type"`
		Sequence uint64              `json:"seq"`
		Every    uint64              `json:"msgs"`
		Stream   string              `json:"stream"`
		Batch    string              `json:"batch"`
		Count    uint64              `json:"count"`
		Error    *jetstream.APIError `json:"error"`
	}
	if json.Unmarshal(data, &a) != nil {
		return batchReply{}
	}
	switch {
	case a.Error != nil && (a.Type == "err" || a.Stream != "" || a.Error.ErrorCode != 0):
		return batchReply{kind: refusedIn, sequence: a.Sequence, code: a.Error.ErrorCode}
	case a.Type == "ack":
		return batchReply{kind: progress, sequence: a.Sequence, every: a.Every}
	case a.Type == "gap":
		return batchReply{kind: gapSeen}
	case a.Type == "" && a.Stream != "" && a.Batch != "":
		return batchReply{kind: concluded, sequence: a.Count}
	}
	return batchReply{}
}

var (
	progressStart    = []byte(`{"type":"ack","seq":`)
	progressMessages = []byte(`,"msgs":`)
)

// plainProgress reads the usual acknowledgement without the JSON parser, which takes
// fifty times as long.
func plainProgress(data []byte) (sequence, every uint64, ok bool) {
	rest, ok := bytes.CutPrefix(data, progressStart)
	if !ok {
		return 0, 0, false
	}
	first, second, ok := bytes.Cut(rest, progressMessages)
	if !ok {
		return 0, 0, false
	}
	if second, ok = bytes.CutSuffix(second, []byte("}")); !ok {
		return 0, 0, false
	}
	if sequence, ok = digits(first); ok {
		every, ok = digits(second)
	}
	return sequence, every, ok
}

// digits reads a number of at most 18 digits.
func digits(b []byte) (n uint64, ok bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + uint64(c-'0')
	}
	return n, true
}
