package oracle_test

import (
	"slices"
	"testing"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
	"github.com/outbox-relay/outbox-relay/relay"
)

// history is a hand-made one: three rows of one key, one without a key.
type history struct {
	committed []oracle.Written
	received  []oracle.Delivery
	table     oracle.Table
	limits    oracle.Limits
}

func row(n int64, key string, seq int64) oracle.Written {
	ref := relay.Ref{ID: n, MessageID: relay.MessageID{15: byte(n)}}
	return oracle.Written{
		Ref: ref, Key: key, Keyed: key != "", Seq: seq,
		Digest: oracle.Content{Topic: "t", Payload: []byte{byte(n)}}.Digest(), Expect: oracle.Delivered,
	}
}

func delivery(seq uint64, w oracle.Written) oracle.Delivery {
	return oracle.Delivery{StreamSeq: seq, MessageID: w.MessageID.String(), Digest: w.Digest}
}

func soundHistory() *history {
	h := &history{table: oracle.Table{}}
	h.committed = []oracle.Written{row(1, "a", 1), row(2, "a", 2), row(3, "", 0), row(4, "a", 3)}
	for i, w := range h.committed {
		h.received = append(h.received, delivery(uint64(i+1), w))
		h.table[w.Ref] = oracle.RowState{Sent: true}
	}
	return h
}

func (h *history) judge() []oracle.Finding {
	return oracle.Judge(h.committed, h.received, h.table, h.limits)
}

var (
	pending = oracle.RowState{Attempts: 2}
	dead    = oracle.RowState{Dead: true, Attempts: 10}
)

var judgeCases = []struct {
	name string
	make func(*history)
	want []oracle.Clause
}{
	{"sound", func(*history) {}, nil},
	{"received in another order than read", func(h *history) { slices.Reverse(h.received) }, nil},
	{"redelivery within the limit, even late", func(h *history) {
		h.limits.Redeliveries = 1
		h.received = append(h.received, delivery(5, h.committed[0]))
	}, nil},
	{"deleted after sending", func(h *history) {
		h.limits.Deletes = true
		h.table = oracle.Table{}
	}, nil},
	{"withdrawn and never received", func(h *history) {
		h.committed[1].Expect = oracle.Withdrawn
		h.received = slices.Delete(h.received, 1, 2)
		delete(h.table, h.committed[1].Ref)
	}, nil},
	{"purged after it was marked", func(h *history) {
		h.committed[1].Expect = oracle.Purged
		delete(h.table, h.committed[1].Ref)
	}, nil},
	{"dead as expected", func(h *history) {
		h.committed[1].Expect = oracle.Buried
		h.received = slices.Delete(h.received, 1, 2)
		h.table[h.committed[1].Ref] = dead
	}, nil},
	{"order turned without an order to keep", func(h *history) {
		h.limits.Unordered = true
		h.received[0].StreamSeq, h.received[1].StreamSeq = 2, 1
	}, nil},
	{"overtaken within its window after a refusal", func(h *history) {
		h.limits.KeyWindow = 2
		h.table[h.committed[0].Ref] = oracle.RowState{Sent: true, Attempts: 1}
		h.received[0].StreamSeq, h.received[1].StreamSeq = 2, 1
	}, nil},
	{"forgotten by a failover, also where its id and place in the key were used again", func(h *history) {
		h.limits.Forgotten = 1
		h.received = append(h.received, delivery(5, h.committed[3]))
		h.received[3] = delivery(4, h.committed[2])
		h.received[2] = delivery(3, h.committed[1])
		h.received[1] = delivery(2, h.committed[0])
		ghost := row(1, "a", 1)
		ghost.MessageID[0] = 1
		ghost.Digest[0] ^= 1
		h.received[0] = delivery(1, ghost)
	}, nil},

	{"lost", func(h *history) { h.received = h.received[1:] }, []oracle.Clause{oracle.ClauseReceived}},
	{"purged and never received", func(h *history) {
		h.committed[0].Expect = oracle.Purged
		h.received = h.received[1:]
	}, []oracle.Clause{oracle.ClauseReceived}},
	{"lost and left pending", func(h *history) {
		h.received = h.received[1:]
		h.table[h.committed[0].Ref] = pending
	}, []oracle.Clause{oracle.ClauseReceived, oracle.ClauseSettled}},
	{"never committed", func(h *history) { h.received = append(h.received, delivery(9, row(9, "a", 4))) }, []oracle.Clause{oracle.ClauseCommitted}},
	{"never committed, after the failover", func(h *history) {
		h.limits.Forgotten = 8
		h.received = append(h.received, delivery(9, row(9, "a", 4)))
	}, []oracle.Clause{oracle.ClauseCommitted}},
	{"without an id, before a failover", func(h *history) {
		h.limits.Forgotten = 9
		d := delivery(9, row(9, "a", 4))
		d.MessageID = ""
		h.received = append(h.received, d)
	}, []oracle.Clause{oracle.ClauseCommitted}},
	{"without an id", func(h *history) {
		d := delivery(9, row(9, "a", 4))
		d.MessageID = ""
		h.received = append(h.received, d)
	}, []oracle.Clause{oracle.ClauseCommitted}},
	{"copied under another id", func(h *history) {
		d := delivery(9, h.committed[0])
		d.MessageID = row(9, "", 0).MessageID.String()
		h.received = append(h.received, d)
	}, []oracle.Clause{oracle.ClauseIdentity}},
	{"altered", func(h *history) { h.received[2].Digest[0] ^= 1 }, []oracle.Clause{oracle.ClauseContent}},
	{"redelivery altered", func(h *history) {
		h.limits.Redeliveries = 1
		d := delivery(9, h.committed[0])
		d.Digest[0] ^= 1
		h.received = append(h.received, d)
	}, []oracle.Clause{oracle.ClauseContent}},
	{"overtaken", func(h *history) {
		h.received[1].StreamSeq, h.received[3].StreamSeq = 4, 2
	}, []oracle.Clause{oracle.ClauseOrder}},
	{"overtaken without a refusal", func(h *history) {
		h.limits.KeyWindow = 64
		h.received[0].StreamSeq, h.received[1].StreamSeq = 2, 1
	}, []oracle.Clause{oracle.ClauseOrder}},
	{"overtaken after a refusal, with a window of one", func(h *history) {
		h.table[h.committed[0].Ref] = oracle.RowState{Sent: true, Attempts: 1}
		h.received[0].StreamSeq, h.received[1].StreamSeq = 2, 1
	}, []oracle.Clause{oracle.ClauseOrder}},
	{"overtaken, its redelivery in place", func(h *history) {
		h.limits.Redeliveries = 1
		h.received = []oracle.Delivery{
			delivery(1, h.committed[1]), delivery(2, h.committed[0]), delivery(3, h.committed[1]),
			delivery(4, h.committed[2]), delivery(5, h.committed[3]),
		}
	}, []oracle.Clause{oracle.ClauseOrder}},
	{"one redelivery too many", func(h *history) {
		h.limits.Redeliveries = 1
		h.received = append(h.received, delivery(8, h.committed[0]), delivery(9, h.committed[0]))
	}, []oracle.Clause{oracle.ClauseRedelivery}},
	{"never marked", func(h *history) { h.table[h.committed[0].Ref] = pending }, []oracle.Clause{oracle.ClauseSettled}},
	{"marked instead of deleted", func(h *history) {
		h.limits.Deletes = true
		h.table = oracle.Table{h.committed[0].Ref: {Sent: true}}
	}, []oracle.Clause{oracle.ClauseSettled}},
	{"deleted instead of marked", func(h *history) { delete(h.table, h.committed[0].Ref) }, []oracle.Clause{oracle.ClauseKept}},
	{"same id, another message id", func(h *history) {
		other := h.committed[0].Ref
		other.MessageID[0] = 1
		h.table[other] = h.table[h.committed[0].Ref]
		delete(h.table, h.committed[0].Ref)
	}, []oracle.Clause{oracle.ClauseKept}},
	{"dead although delivered", func(h *history) { h.table[h.committed[0].Ref] = dead }, []oracle.Clause{oracle.ClauseAlive}},
	{"dead and lost", func(h *history) {
		h.received = h.received[1:]
		h.table[h.committed[0].Ref] = dead
	}, []oracle.Clause{oracle.ClauseReceived, oracle.ClauseAlive}},
	{"unpublishable and published", func(h *history) {
		h.committed[0].Expect = oracle.Buried
		h.table[h.committed[0].Ref] = dead
	}, []oracle.Clause{oracle.ClauseBuried}},
	{"unpublishable and pending", func(h *history) {
		h.committed[0].Expect = oracle.Buried
		h.received = h.received[1:]
		h.table[h.committed[0].Ref] = pending
	}, []oracle.Clause{oracle.ClauseBuried}},
}

func TestJudgeFindsExactlyTheBrokenClause(t *testing.T) {
	for _, c := range judgeCases {
		t.Run(c.name, func(t *testing.T) {
			h := soundHistory()
			c.make(h)
			findings := h.judge()
			if got := oracle.Broken(findings); !slices.Equal(got, c.want) {
				t.Errorf("broken clauses = %q, want %q\n%s", got, c.want, oracle.Report(findings))
			}
		})
	}
}

func TestDigestTellsEveryPartOfAContent(t *testing.T) {
	base := func() oracle.Content {
		return oracle.Content{
			Topic: "t", Key: "k", Keyed: true, ContentType: "c",
			Headers: map[string]string{"a": "1", "b": "2"}, Payload: []byte("p"),
		}
	}
	seen := map[oracle.Digest]string{base().Digest(): "the base"}
	for name, change := range map[string]func(*oracle.Content){
		"topic":            func(c *oracle.Content) { c.Topic = "T" },
		"key":              func(c *oracle.Content) { c.Key = "K" },
		"empty key":        func(c *oracle.Content) { c.Key = "" },
		"no key":           func(c *oracle.Content) { c.Key, c.Keyed = "", false },
		"content type":     func(c *oracle.Content) { c.ContentType = "" },
		"header dropped":   func(c *oracle.Content) { delete(c.Headers, "a") },
		"header value":     func(c *oracle.Content) { c.Headers["a"] = "2" },
		"headers swapped":  func(c *oracle.Content) { c.Headers["a"], c.Headers["b"] = "2", "1" },
		"headers none":     func(c *oracle.Content) { c.Headers = nil },
		"payload":          func(c *oracle.Content) { c.Payload = []byte("P") },
		"payload a header": func(c *oracle.Content) { delete(c.Headers, "b"); c.Payload = []byte("b\x002\x00p") },
	} {
		c := base()
		change(&c)
		if other, taken := seen[c.Digest()]; taken {
			t.Errorf("%s has the digest of %s", name, other)
		}
		seen[c.Digest()] = name
	}
}
