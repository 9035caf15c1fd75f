package postgres

import "github.com/outbox-relay/outbox-relay/relay"

// Memory for the rows of a chunk is taken in blocks, which is cheaper than one
// by one. A block lives as long as any row in it, so blocks are small: a message
// that stays in flight for long keeps no more than one of each alive.
const (
	slabBytes    = 16 << 10
	slabMessages = 64
)

// slab hands out pieces of blocks.
type slab struct {
	bytes    []byte
	messages []relay.Message
}

// copy returns a copy of b; nil for nothing.
func (s *slab) copy(b []byte) []byte {
	n := len(b)
	switch {
	case n == 0:
		return nil
	case n > slabBytes/4:
		return append(make([]byte, 0, n), b...)
	case n > len(s.bytes):
		s.bytes = make([]byte, slabBytes)
	}
	piece := s.bytes[:n:n]
	s.bytes = s.bytes[n:]
	copy(piece, b)
	return piece
}

func (s *slab) message() *relay.Message {
	if len(s.messages) == 0 {
		s.messages = make([]relay.Message, slabMessages)
	}
	m := &s.messages[0]
	s.messages = s.messages[1:]
	return m
}
