package natsjs

import (
	"strconv"
	"strings"
)

// ticket names one publish in its reply subject.
type ticket struct {
	slot   uint32
	number uint64
}

// append writes the ticket as the last token of a subject.
func (t ticket) append(b []byte) []byte {
	b = strconv.AppendUint(b, uint64(t.slot), 36)
	b = append(b, '-')
	return strconv.AppendUint(b, t.number, 36)
}

// ticketBytes is the length of the longest ticket.
const ticketBytes = 7 + 1 + 13

func parseTicket(s string) (ticket, bool) {
	slot, number, ok := strings.Cut(s, "-")
	if !ok {
		return ticket{}, false
	}
	i, err := strconv.ParseUint(slot, 36, 32)
	if err != nil {
		return ticket{}, false
	}
	n, err := strconv.ParseUint(number, 36, 64)
	if err != nil {
		return ticket{}, false
	}
	return ticket{uint32(i), n}, true
}
