package oracle

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"maps"
	"slices"
	"strconv"
)

// Content is everything of a row that must arrive unchanged.
type Content struct {
	Topic       string
	Key         string
	Keyed       bool
	ContentType string
	Headers     map[string]string
	Payload     []byte
}

// Digest stands for a [Content], so that a history of a million messages fits
// in memory and a difference of one byte shows.
type Digest [sha256.Size]byte

// String returns the first digits, enough to tell two apart in a message.
func (d Digest) String() string { return hex.EncodeToString(d[:6]) }

// Digest hashes the content in a form that cannot be ambiguous: no column but
// the payload can hold a zero byte, and the payload comes last.
//
// [bulkInsert] computes the same in SQL; a test holds the two together.
func (c Content) Digest() Digest {
	h := sha256.New()
	field := func(s string) {
		_, _ = io.WriteString(h, s)
		_, _ = h.Write([]byte{0})
	}
	field(c.Topic)
	if c.Keyed {
		field("key " + c.Key)
	} else {
		field("no key")
	}
	field(c.ContentType)
	field(strconv.Itoa(len(c.Headers)))
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		field(name)
		field(c.Headers[name])
	}
	_, _ = h.Write(c.Payload)
	return Digest(h.Sum(nil))
}
