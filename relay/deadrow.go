package relay

import (
	"math"
	"time"
)

// DeadFilter chooses dead rows. Its zero value takes all.
type DeadFilter struct {
	// IDs of rows; none: all rows.
	IDs []int64
	// Topic is the topic; in it * stands for any text, and ? for any one character.
	Topic string
	// Key, if not nil, is the key itself.
	Key *string
	// Error is a part of last_error, in lower or upper case.
	Error string
	// Type is the error_type.
	Type string
	// Since and Until bound dead_at; a zero time does not.
	Since, Until time.Time
}

// DeadAccess is what a session may do with dead rows.
type DeadAccess uint8

// What can be done with dead rows. Who replays or discards reads them first.
const (
	ReadDead DeadAccess = iota
	ReplayDead
	DiscardDead
)

var deadAccessNames = [...]string{"read", "replay", "discard"}

// String returns the deed in lower case.
func (a DeadAccess) String() string { return deadAccessNames[a] }

// DeadPage asks for the next rows of a filter: statement after statement, each over a
// bounded number of dead rows.
type DeadPage struct {
	Filter DeadFilter
	After  int64 // rows with a larger id; [BeforeAllIDs] for the first page
	Rows   int   // so many dead rows are examined
	Most   int   // of those that the filter takes, no more
}

// BeforeAllIDs is the first page's cursor.
const BeforeAllIDs = math.MinInt64

// DeadDone says what a page of replaying or discarding has done.
type DeadDone struct {
	Cursor  int64 // to continue after
	End     bool  // there are no further dead rows
	Matched int64 // rows that the filter takes
	Changed int64 // rows that were changed; the others are locked, or are dead no more
}

// DeadRow is a dead row, for a person. Texts are cut after some thousand characters.
type DeadRow struct {
	Ref
	Topic string
	// Key is nil where the row has none.
	Key            *string
	Attempts       int
	CreatedAt      time.Time
	FirstAttemptAt time.Time // zero for NULL, as other times
	DeadAt         time.Time
	ErrorType      string
	LastError      string
}

// DeadGroup counts dead rows of one topic with one kind of error.
type DeadGroup struct {
	Topic, ErrorType string
	Rows             int64
	First, Last      time.Time // the earliest and the latest dead_at
	Error            string    // last_error of the row with the largest id
}

// WholeRow is a row, dead or not, with what it carries.
type WholeRow struct {
	DeadRow
	AvailableAt, SentAt, DeadLetterAt time.Time
	ContentType                       string
	Headers                           []byte // JSON; nil for NULL
	Payload                           []byte // its beginning; nil for NULL
	PayloadBytes                      int64  // how long all of it is
}
