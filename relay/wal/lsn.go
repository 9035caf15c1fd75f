package wal

import (
	"fmt"
	"strconv"
	"strings"
)

// LSN is a position in the write-ahead log. Zero is none.
type LSN uint64

// String returns the form that PostgreSQL prints, such as 16/B374D848.
func (l LSN) String() string {
	return fmt.Sprintf("%X/%X", uint32(l>>32), uint32(l))
}

// ParseLSN reads what [LSN.String] writes; it takes lower-case digits too, as
// PostgreSQL's pg_lsn does.
func ParseLSN(s string) (LSN, error) {
	high, low, found := strings.Cut(s, "/")
	h, errHigh := parseHalf(high)
	l, errLow := parseHalf(low)
	if !found || errHigh != nil || errLow != nil {
		return 0, fmt.Errorf("parse LSN %q: it should be two hexadecimal numbers of up to 8 digits, such as 16/B374D848", s)
	}
	return LSN(h)<<32 | LSN(l), nil
}

func parseHalf(s string) (uint64, error) {
	// ParseUint would take any number of leading zeros.
	if len(s) > 8 {
		return 0, strconv.ErrRange
	}
	return strconv.ParseUint(s, 16, 32)
}
