package relay

import (
	"encoding/hex"
	"strings"
)

// Traceparent is the header of W3C Trace Context that says of which trace a message is.
const Traceparent = "traceparent"

// IsTraceparent says whether the header is [Traceparent].
func (h Header) IsTraceparent() bool { return strings.EqualFold(h.Name, Traceparent) }

// TraceID is that of a message's own trace context; zero where it has none.
type TraceID [16]byte

// TraceOf returns the trace id of the headers, and a remark if the trace context is
// malformed. It is delivered as it is: what a consumer makes of it is not for the relay to
// say.
func TraceOf(headers []Header) (id TraceID, note string) {
	for _, h := range headers {
		if !h.IsTraceparent() {
			continue
		}
		trace, _, _, ok := ParseTraceparent(h.Value)
		if !ok {
			return id, "traceparent header is malformed, it should be 00-<32 hex digits>-<16 hex digits>-<2 hex digits> " +
				"in lower case: delivered as given"
		}
		id = trace
	}
	return id, ""
}

// ParseTraceparent reads a traceparent header by W3C Trace Context, level 1, section
// 3.2.2: four fields in lower-case hexadecimal, version ff and ids of zeros forbidden. Only
// versions after 00 may go on after the flags.
func ParseTraceparent(s string) (trace [16]byte, parent [8]byte, flags byte, ok bool) {
	const length = len("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	if len(s) < length || s[2] != '-' || s[35] != '-' || s[52] != '-' || (len(s) > length && (s[:2] == "00" || s[length] != '-')) {
		return trace, parent, 0, false
	}
	var version, last [1]byte
	ok = fromHex(version[:], s[:2]) && version[0] != 0xff && fromHex(last[:], s[53:55]) &&
		fromHex(trace[:], s[3:35]) && trace != [16]byte{} && fromHex(parent[:], s[36:52]) && parent != [8]byte{}
	return trace, parent, last[0], ok
}

// fromHex reads lower-case digits.
func fromHex(to []byte, s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	_, err := hex.Decode(to, []byte(s))
	return err == nil
}
