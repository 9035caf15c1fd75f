package natsjs

import (
	"encoding/json"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestRepliesAreTold(t *testing.T) {
	for _, c := range []struct {
		text string
		kind replyKind
		dup  bool
	}{
		{`{"stream":"ORDERS","seq":1}`, acknowledged, false},
		{`{"stream":"ORDERS","seq":18446744073709551615}`, acknowledged, false},
		{`{"stream":"ORDERS", "seq":1, "duplicate": true}`, acknowledged, true},
		{`{"stream":"ORDERS","domain":"hub","seq":22}`, acknowledged, false},
		{`{"stream":"a\"b","seq":22}`, acknowledged, false},
		{`{"stream":"error","seq":22}`, acknowledged, false},
		{`{"error":{"code":503,"err_code":10077,"description":"maximum messages exceeded"},"stream":"S","seq":0}`, refused, false},
		{`{"type":"io.nats.x","error":{"code":503,"err_code":10039,"description":"no"}}`, refused, false},
		{`{"error":{"code":409,"err_code":10158,"description":"duplicate message id is in process"},"stream":"S","seq":0}`, inProcess, false},
		{`{"error":{"code":503},"stream":"S"}`, refused, false},
		{`{"error":{"code":404,"message":"no such order"}}`, garbage, false},
		{`{"error":"no"}`, garbage, false},
		{`{"stream":"S","seq":0}`, garbage, false},
		{`{"stream":"S","seq":01}`, garbage, false},
		{`{"stream":"S","seq":}`, garbage, false},
		{`{"stream":"S","seq":-1}`, garbage, false},
		{`{"stream":"S","seq":1`, garbage, false},
		{`{"stream":"","seq":1}`, garbage, false},
		{`{"seq":1}`, garbage, false},
		{`+OK`, garbage, false},
		{`null`, garbage, false},
	} {
		got := parsePubAck([]byte(c.text))
		if got.kind != c.kind || got.duplicate != c.dup {
			t.Errorf("%s is %d, duplicate %v; want %d, %v", c.text, got.kind, got.duplicate, c.kind, c.dup)
		}
	}
	if got := parseReply(&nats.Msg{Header: nats.Header{"Status": {"503"}}}); got.kind != noResponders {
		t.Errorf("no responders is %d", got.kind)
	}
	if got := parseReply(&nats.Msg{}); got.kind != garbage {
		t.Errorf("an empty answer is %d", got.kind)
	}
}

// FuzzPubAck compares the quick parser with the JSON parser.
func FuzzPubAck(f *testing.F) {
	for _, s := range []string{
		`{"stream":"S","seq":1}`, `{"stream":"S","seq":0}`, `{"stream":"","seq":1}`, `{"stream":"S","seq":1,"duplicate":true}`,
		`{"stream":"S\u0000","seq":1}`, `{"stream":"S","seq":1}}`, `{"stream":"S","seq":99999999999999999999}`, `{"error":{}}`, "",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got := parsePubAck(data)
		var ack jetstream.PubAck
		err := json.Unmarshal(data, &ack)
		if got.kind == acknowledged && (err != nil || ack.Stream == "" || ack.Sequence == 0 || ack.Duplicate != got.duplicate) {
			// Control characters in a name are no JSON, and no stream can have them.
			if plainPubAck(data) {
				for _, c := range data {
					if c < ' ' {
						return
					}
				}
			}
			t.Errorf("%q is taken for an acknowledgement: %+v, %v", data, ack, err)
		}
	})
}

func BenchmarkPubAck(b *testing.B) {
	ordinary := []byte(`{"stream":"ORDERS","seq":123456}`)
	b.Run("plain", func(b *testing.B) {
		for b.Loop() {
			parsePubAck(ordinary)
		}
	})
	withSpace := []byte(`{"stream":"ORDERS", "seq":123456}`)
	b.Run("json", func(b *testing.B) {
		for b.Loop() {
			parsePubAck(withSpace)
		}
	})
}
