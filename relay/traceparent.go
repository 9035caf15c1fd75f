package relay

import "strings"

// TraceNote is the remark on a row whose trace context is malformed. It is
// delivered as it is: what a consumer makes of it is not for the relay to say.
func TraceNote(headers []Header) string {
	for _, h := range headers {
		if strings.EqualFold(h.Name, "traceparent") && !validTraceparent(h.Value) {
			return "traceparent header is malformed, it should be 00-<32 hex digits>-<16 hex digits>-<2 hex digits> " +
				"in lower case: delivered as given"
		}
	}
	return ""
}

// validTraceparent follows W3C Trace Context, level 1, section 3.2.2: four fields in
// lower-case hexadecimal, version ff and ids of zeros forbidden. Only versions
// after 00 may go on after the flags.
func validTraceparent(s string) bool {
	const length = len("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	if len(s) < length || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return false
	}
	version, trace, parent, flags := s[:2], s[3:35], s[36:52], s[53:55]
	if len(s) > length && (version == "00" || s[length] != '-') {
		return false
	}
	return version != "ff" && isHex(version) && isHex(flags) && isHex(trace) && isHex(parent) &&
		strings.Trim(trace, "0") != "" && strings.Trim(parent, "0") != ""
}

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
