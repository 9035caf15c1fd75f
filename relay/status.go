package relay

import (
	"fmt"
	"time"
)

// Mode is what a relay is doing.
type Mode uint8

// The modes. A relay starts in the first one and comes back to it whenever it
// has lost its control session.
const (
	Connecting Mode = iota // no control session, or none that it can work with
	StandingBy             // another relay leads
	Polling                // leads, and finds rows by reading the table
	Tailing                // leads, and finds rows in the write-ahead log
)

var modeNames = [...]string{"connecting", "standby", "polling", "tailing"}

// String returns the mode in lower case.
func (m Mode) String() string {
	if int(m) >= len(modeNames) {
		return fmt.Sprintf("mode(%d)", uint8(m))
	}
	return modeNames[m]
}

// Modes are all modes.
func Modes() []Mode { return []Mode{Connecting, StandingBy, Polling, Tailing} }

// Leads says whether the relay is the leader.
func (m Mode) Leads() bool { return m == Polling || m == Tailing }

// Status is what a relay says of itself at one moment.
type Status struct {
	Mode  Mode
	Since time.Time // when the mode began
	// Reason says why the relay is not in the mode that it should be in, and what to
	// fix: while Connecting, why it has no session; while Polling, why it is not
	// Tailing; while StandingBy for long, who holds the leadership lock. Empty if there
	// is nothing to say.
	Reason string
	// NoRelayLeads: the relay stands by, and Reason says what else holds the lock.
	NoRelayLeads bool
	// Turned is when the leader's loop last turned. It does so at least once a second,
	// unless something hangs.
	Turned time.Time

	NoteStatus
	StallStatus
	SinkStatus
	TableStatus
	PurgeStatus
	LoadStatus
	// Counters since the relay was started.
	Counters
}

// NoteStatus is what is noted beside the table, as the relay has seen it last.
type NoteStatus struct {
	Note
	// Foreign says why the relay publishes nothing of the table: it belongs to another
	// environment. Empty while it may publish.
	Foreign string
}

// StallStatus says whether due rows make progress.
type StallStatus struct {
	// Stalled says why due rows have made no progress since StalledSince; empty while
	// they do, or there are none. StalledHere says that the cause is on the relay's
	// side and not the broker's: its sessions, its privileges, locks, marks.
	Stalled      string
	StalledSince time.Time
	StalledHere  bool
}

// SinkStatus says what the broker takes.
type SinkStatus struct {
	// SinkDown says why the broker takes no messages, since SinkDownSince; empty
	// while it does, and while nothing has been tried.
	SinkDown      string
	SinkDownSince time.Time
	// LateTopics counts the topics of which the sink takes few messages now, because
	// they come late. Their rows wait in the table. LateTopicsTold are some of them.
	LateTopics     int
	LateTopicsTold []LateTopic
}

// TableStatus says what cannot be written.
type TableStatus struct {
	// TableDown says why no outcome can be written since TableDownSince. Meanwhile only
	// one row is published now and then, to see whether that is over. Empty while
	// outcomes are written, and while nothing has been tried.
	TableDown      string
	TableDownSince time.Time
	// Unmarkable counts the rows whose outcome the server refuses, while it takes the
	// outcomes of others. UnmarkableRows are the first ones.
	Unmarkable     int
	UnmarkableRows []UnmarkableRow

	// Locked counts the published rows that cannot be marked because another session
	// has had them locked, since LockedSince. LockedBy are some of those sessions, or of
	// those that have the whole table locked; they are looked up after a while.
	Locked      int
	LockedSince time.Time
	LockedBy    []Blocker
}

// PurgeStatus says whether sent rows are deleted.
type PurgeStatus struct {
	// NotPurged says why sent rows are not deleted, since NotPurgedSince, though they are
	// to be; empty while they are.
	NotPurged      string
	NotPurgedSince time.Time
}

// LoadStatus is how much there is to do.
type LoadStatus struct {
	InFlight int // published, and the outcome not committed
	Waiting  int // read, and not published
	HeldKeys int // wait for a row that was refused, or for the next pass
	// HeldKeysTold are some of them.
	HeldKeysTold []string
	// RetainedWAL is how many bytes of its log the server keeps for the relay while it
	// tails, and UnreadWAL how many of them it has not read, some seconds ago.
	RetainedWAL, UnreadWAL int64
}

// MaxHeldKeysTold bounds [Status.HeldKeysTold].
const MaxHeldKeysTold = 10

// Counters count since the relay was started.
type Counters struct {
	Published     uint64 // acknowledged by the broker
	DuplicateAcks uint64 // of these, the ones that the broker had already
	Refused       uint64 // attempts counted against a row
	Dead          uint64 // rows given up
	Expired       uint64 // of these, the ones that had waited for the broker for too long
	Reconciled    uint64 // rows that the log has missed, and a survey found
	Purged        uint64 // sent rows deleted
}

// MaxUnmarkableTold bounds [Status.UnmarkableRows].
const MaxUnmarkableTold = 10

// UnmarkableRow is a row whose outcome the server refuses.
type UnmarkableRow struct {
	Ref
	// Refused: the broker has refused it, and that cannot be written. It was not
	// published, and its key waits.
	Refused bool
	Since   time.Time
	Tries   int
	Error   string // the server's, which never contains the payload
}

// MaxLateTopicsTold bounds [Status.LateTopicsTold].
const MaxLateTopicsTold = 10

// LateTopic is a topic whose rows wait in the table, because few of its messages are
// tried at once.
type LateTopic struct {
	Topic string
	Since time.Time
	Tried int    // messages of it that are in memory
	Why   string // the sink's words
}
