package faultproxy

import "bytes"

// scanner finds a pattern in a stream, also where it is spread over reads.
type scanner struct {
	tail []byte // the last bytes of the stream, fewer than the pattern has
}

// scan looks at the next bytes of the stream. It returns how many of them come
// before the pattern (all, where it is not there), and whether it was found.
func (s *scanner) scan(b, pattern []byte) (before int, found bool) {
	overlap := len(pattern) - 1
	if len(s.tail) > overlap { // the pattern was longer before
		s.tail = s.tail[len(s.tail)-overlap:]
	}
	seam := append(bytes.Clone(s.tail), b[:min(len(b), overlap)]...)
	if i := bytes.Index(seam, pattern); i >= 0 {
		return max(0, i-len(s.tail)), true
	}
	if i := bytes.Index(b, pattern); i >= 0 {
		return i, true
	}
	if len(b) >= overlap {
		s.tail = append(s.tail[:0], b[len(b)-overlap:]...)
	} else {
		s.tail = append(s.tail, b...)
		s.tail = s.tail[max(0, len(s.tail)-overlap):]
	}
	return len(b), false
}
