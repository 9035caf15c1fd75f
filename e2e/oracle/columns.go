package oracle

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"

	"github.com/outbox-relay/outbox-relay/schema"
)

// columns are contents as the arrays that unnest takes.
type columns struct {
	topics, contentTypes, headers []string
	keys                          []*string
	payloads                      [][]byte
}

func newColumns(contents []Content) (columns, error) {
	var c columns
	for i := range contents {
		content := &contents[i]
		headers := []byte("{}")
		if len(content.Headers) > 0 {
			var err error
			if headers, err = json.Marshal(content.Headers); err != nil {
				return c, fmt.Errorf("encode headers: %w", err)
			}
		}
		var key *string
		if content.Keyed {
			key = &content.Key
		}
		c.topics = append(c.topics, content.Topic)
		c.keys = append(c.keys, key)
		c.contentTypes = append(c.contentTypes, content.ContentType)
		c.headers = append(c.headers, string(headers))
		c.payloads = append(c.payloads, content.Payload)
	}
	return c, nil
}

// payloadExpression turns the bytes of a payload into its column's type.
func payloadExpression(t schema.PayloadType) string {
	if t == schema.PayloadBytea {
		return "payload"
	}
	return "convert_from(payload, 'UTF8')::" + string(t)
}

// content makes up a row. No two are alike, so that a copy is known for one.
func (w *writer) content(key string) Content {
	c := Content{
		Topic:       w.load.Topics[w.rand.IntN(len(w.load.Topics))],
		Key:         key,
		Keyed:       key != "",
		ContentType: "application/json",
	}
	if w.rand.IntN(100) < 30 {
		c.Headers = w.headers()
	}
	// Most payloads are small, a few are as large as allowed.
	size := w.rand.IntN(w.load.MaxPayload/10 + 1)
	if w.rand.IntN(20) == 0 {
		size = w.rand.IntN(w.load.MaxPayload + 1)
	}
	if w.load.Payload == schema.PayloadBytea {
		c.ContentType = "application/octet-stream"
		c.Payload = w.bytes(16 + size)
		return c
	}
	// The spaces are on purpose: a relay that parses and writes the JSON again
	// loses them, and the digest shows it.
	c.Payload = fmt.Appendf(nil, `{ "id": "%x", "name":"Zoë \u00e9 ✓" ,  "pad":"%s"}`, w.bytes(16), hex.EncodeToString(w.bytes(size/2)))
	return c
}

func (w *writer) headers() map[string]string {
	h := map[string]string{"tenant": fmt.Sprintf("t-%d", w.rand.IntN(9))}
	if w.rand.IntN(2) == 0 {
		h["traceparent"] = fmt.Sprintf("00-%x-%x-01", w.bytes(16), w.bytes(8))
	}
	if w.rand.IntN(3) == 0 {
		h["X-Mixed-Case_and.dots"] = `quote " backslash \ comma, semicolon;`
	}
	return h
}

// bytes are not from the seeded source: two loads with one seed must not write
// the same contents.
func (w *writer) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}
