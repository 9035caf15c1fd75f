package tail

import (
	"fmt"
	"math"
	"time"
)

// instant is a timestamptz as PostgreSQL counts it: microseconds since the
// beginning of the year 2000 in UTC.
type instant int64

// The instants before and after all others.
const (
	beginningOfTime instant = math.MinInt64 // -infinity
	endOfTime       instant = math.MaxInt64 // infinity
)

// epoch is 2000-01-01 in microseconds since 1970.
const epoch = 946_684_800_000_000

// time converts to Go's time. Infinities and years after about 9600 have none of
// their own and become the zero time, as in a pass.
func (i instant) time() time.Time {
	const limit instant = 240_000_000_000_000_000
	if i > limit || i < -limit {
		return time.Time{}
	}
	return time.UnixMicro(int64(i) + epoch).UTC()
}

// parseInstant reads a timestamptz as it is written under DateStyle ISO and
// TimeZone UTC: 2026-01-31 23:59:59.123456+00, with more digits of the year where
// it needs them, and BC at the end. The error does not contain the value.
func parseInstant(b []byte) (instant, error) {
	switch string(b) {
	case "infinity":
		return endOfTime, nil
	case "-infinity":
		return beginningOfTime, nil
	}
	p := instantParser{rest: b}
	year := p.number(4, 6)
	p.literal('-')
	month := p.number(2, 2)
	p.literal('-')
	day := p.number(2, 2)
	p.literal(' ')
	hour := p.number(2, 2)
	p.literal(':')
	minute := p.number(2, 2)
	p.literal(':')
	second := p.number(2, 2)
	micros := p.fraction()
	if p.suffix("+00 BC") {
		year = 1 - year
	} else if !p.suffix("+00") {
		p.bad = true
	}
	const lastYear = 294_276 // of a timestamp in PostgreSQL
	if p.bad || year > lastYear || month < 1 || month > 12 || day < 1 || day > 31 || hour > 24 || minute > 59 || second > 60 {
		return 0, fmt.Errorf("%w: a timestamp is not in the form of DateStyle ISO and TimeZone UTC", ErrProtocol)
	}
	seconds := ((daysBefore(year, month, day)*24+hour)*60+minute)*60 + second
	return instant(seconds*1_000_000 + micros), nil
}

type instantParser struct {
	rest []byte
	bad  bool
}

// number reads at least and at most so many digits.
func (p *instantParser) number(least, most int) int64 {
	var n int64
	read := 0
	for read < most && read < len(p.rest) && p.rest[read] >= '0' && p.rest[read] <= '9' {
		n = n*10 + int64(p.rest[read]-'0')
		read++
	}
	p.rest = p.rest[read:]
	p.bad = p.bad || read < least
	return n
}

func (p *instantParser) literal(c byte) {
	if len(p.rest) == 0 || p.rest[0] != c {
		p.bad = true
		return
	}
	p.rest = p.rest[1:]
}

// fraction reads the microseconds; PostgreSQL leaves trailing zeros out.
func (p *instantParser) fraction() int64 {
	if len(p.rest) == 0 || p.rest[0] != '.' {
		return 0
	}
	p.rest = p.rest[1:]
	before := len(p.rest)
	n := p.number(1, 6)
	for range 6 - (before - len(p.rest)) {
		n *= 10
	}
	return n
}

func (p *instantParser) suffix(s string) bool { return string(p.rest) == s }

// daysBefore counts the days from 2000-01-01 to a day of the Gregorian calendar,
// the years before 1 being 0, -1 and so on. Its year begins in March, so that a
// leap day is the last of its year.
func daysBefore(year, month, day int64) int64 {
	if month <= 2 {
		year--
		month += 12
	}
	const fourCenturies = 400*365 + 97
	era := year / 400
	if year < 0 {
		era = (year - 399) / 400
	}
	inEra := year - era*400
	inYear := (153*(month-3)+2)/5 + day - 1
	// 730425 days lie between 0000-03-01 and 2000-01-01.
	return era*fourCenturies + inEra*365 + inEra/4 - inEra/100 + inYear - 730_425
}
