package relay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/wal"
)

// Errors of a [Database] that the relay acts on.
var (
	// ErrNotLeader: the control session no longer holds the lock, or holds it on
	// another server than a second session reached.
	ErrNotLeader = errors.New("not the leader")
	// ErrSetup: the database answers, but a person has to fix something (a missing
	// table, its columns, a privilege, row-level security). The message says what to
	// run. The relay keeps trying.
	ErrSetup = errors.New("setup")
	// ErrWriteRefused: the server refuses a batch of a [Writer] because of its rows or
	// of the table's state. The session is as good as before.
	ErrWriteRefused = errors.New("write refused")
	// ErrTableLocked is an [ErrWriteRefused] because somebody has the whole table
	// locked, which says nothing of the rows.
	ErrTableLocked = errors.New("the table is locked")
)

// Database opens sessions for one outbox table. Safe for concurrent use.
type Database interface {
	// Connect opens the control session, one connection, and checks that the
	// table can be worked with; an error that a person has to fix wraps
	// [ErrSetup]. The caller owns the session.
	Connect(ctx context.Context) (Control, error)

	// OpenReader opens the session that reads rows, on one more connection, and
	// checks that it reached the server on which control holds the lock
	// ([ErrNotLeader] if not). The caller owns the session.
	OpenReader(ctx context.Context, control Control) (Reader, error)

	// OpenTail creates a temporary replication slot, on one more connection and on
	// the server on which control holds the lock ([ErrNotLeader] if not), and
	// returns once whatever committed before the slot's start is visible to every
	// new statement. It waits for the transactions that are open, but not for long:
	// [ErrNoTail] says what is in the way. limit returns the longest payload that is
	// read, in bytes; 0 is no limit. The caller owns the tail.
	OpenTail(ctx context.Context, control Control, limit func() int64) (Tail, error)

	// OpenPurger opens the session that deletes old sent rows, on one more connection and
	// on the server on which control holds the lock ([ErrNotLeader] if not).
	// [ErrNoPurge]: it may not. The caller owns the session.
	OpenPurger(ctx context.Context, control Control) (Purger, error)

	// OpenDeadLetters opens the session that reads dead rows for their copies, on one more
	// connection and on the server on which control holds the lock ([ErrNotLeader] if not).
	// The caller owns the session.
	OpenDeadLetters(ctx context.Context, control Control) (DeadLetters, error)
}

// DeadLetters reads the dead rows of which a copy is owed to the dead-letter topic, and
// notes that it was acknowledged. That stands in the table, so a copy is owed until then,
// whichever relay leads. One goroutine at a time may use it. After an error the session is
// of no use: close it.
type DeadLetters interface {
	// Owed looks at so many dead rows after a cursor, in the order of their ids. It returns
	// those that owe a copy, the cursor to continue after, and whether there are no more.
	Owed(ctx context.Context, after int64, rows int) (owed []Ref, cursor int64, end bool, err error)
	// Letter reads a dead row, without a payload that is longer than so many bytes; false:
	// it is dead no more.
	Letter(ctx context.Context, r Ref, longest int64) (DeadLetter, bool, error)
	// Copied notes that the copy of this death was acknowledged, and says whether nothing
	// is left to note: false where somebody has the row locked. It waits for nobody.
	Copied(ctx context.Context, d DeadLetter) (bool, error)
	// Close ends the session without waiting for the server. Idempotent.
	Close()
}

// Control is the session that holds the leadership lock and writes outcomes.
// One goroutine at a time may use it. Every method has a deadline of its own
// beside ctx. After any error but [ErrWriteRefused] the session is of no use: close
// it, which frees the lock.
type Control interface {
	Leadership
	Writer

	// Close ends the session without waiting for the server. Idempotent.
	Close()
}

// Leadership is the lock that makes one of N relays the leader.
type Leadership interface {
	// TryLead takes the lock if it is free, and returns whether this session has it.
	// It never waits for the lock: a blocking wait would hold back vacuum.
	TryLead(ctx context.Context) (bool, error)
	// AwaitHandover blocks until a leader resigns or d has passed, and for rest at
	// least. Anyone who may connect can send that signal, so it may be false.
	AwaitHandover(ctx context.Context, rest, d time.Duration) error
	// Holder says who holds the lock.
	Holder(ctx context.Context) (LockHolder, error)
	// Standbys counts the other relays that stand by for this table.
	Standbys(ctx context.Context) (int, error)
	// Resign frees the lock and wakes the standbys.
	Resign(ctx context.Context) error
	// Heartbeat is one round trip. It keeps idle_session_timeout from ending the
	// session, and tells a leader that its session is gone.
	Heartbeat(ctx context.Context) error
	// Note reads what is noted beside the table; it is as good as a Heartbeat. An error
	// that wraps [ErrForeign]: the relay may not publish, whoever holds the lock.
	Note(ctx context.Context) (Note, error)
}

// Writer writes what became of rows. Each call is one batch and commits before
// it returns. It waits only briefly for a row that another session has locked, writes
// the other rows, and leaves the locked one out of the answer. The caller tries it
// again.
type Writer interface {
	// Mark records acknowledged rows as sent (or deletes them, as configured)
	// and returns those that need no further write: marked now, marked before, or
	// gone from the table. The commit is asynchronous: a crash of the server may
	// lose the mark, which costs a duplicate. The slice stays the caller's.
	Mark(ctx context.Context, marks []Mark) ([]Ref, error)
	// Refuse records refusals: attempts, last_error, available_at, dead_at. It
	// never touches a sent row. The commit is synchronous: a dead row's followers
	// must not overtake it when the server crashes.
	Refuse(ctx context.Context, limit AttemptLimit, refusals []Refusal) ([]Verdict, error)
	// Blockers looks up some of the sessions that have the rows locked, or the whole
	// table. [ErrWriteRefused]: they cannot be looked up.
	Blockers(ctx context.Context, rows []Ref) ([]Blocker, error)
}

// Blocker has a lock that is in the way of a write.
type Blocker struct {
	PID         int    // of its session; 0 for a prepared transaction
	Application string // application_name, as the session has set it
	Prepared    string // the name of a prepared transaction
}

// String names the session, or the prepared transaction.
func (b Blocker) String() string {
	switch {
	case b.PID == 0:
		return fmt.Sprintf("prepared transaction %q", b.Prepared)
	case b.Application == "":
		return fmt.Sprintf("pid %d", b.PID)
	}
	return fmt.Sprintf("pid %d (%q)", b.PID, b.Application)
}

// Mark is an acknowledged row.
type Mark struct {
	Ref
	// XID is the transaction that inserted the row, if the row came by the log; 0 if
	// it was read from the table. While that transaction is not visible, a row that
	// is not found is not gone.
	XID wal.XID
	// CreatedAt is the row's created_at as it was read, by which a partition is found. It
	// is no part of the row's identity: a row with another one is marked as well, only
	// slower. Zero if it is not known.
	CreatedAt time.Time
	// Note goes to last_error; empty for nearly all rows.
	Note string
}

// AttemptLimit says when a refused row is given up: both must be reached.
type AttemptLimit struct {
	Attempts int           // refusals, this one included
	Age      time.Duration // since the first refusal
}

// Refusal is a row that the sink refused.
type Refusal struct {
	Ref
	XID       wal.XID   // as in [Mark]
	CreatedAt time.Time // as in [Mark]
	// Reason goes to last_error; never contains the payload.
	Reason string
	// Type goes to error_type, where the table has that column.
	Type ErrorType
	// Delay until the next attempt.
	Delay time.Duration
	// Final makes the row dead whatever the limit says.
	Final bool
	// Uncounted says that the row was not published, so that this is no attempt.
	Uncounted bool
}

// Fate is the state of a row after a refusal was written.
type Fate uint8

// The fates.
const (
	Waiting Fate = iota + 1 // pending, available_at is set
	Dead                    // dead_at is set
	Gone                    // deleted by the application, or sent meanwhile
)

var fateNames = [...]string{"", "waiting", "dead", "gone"}

// String returns the fate in lower case.
func (f Fate) String() string { return fateNames[f] }

// Verdict answers a [Refusal].
type Verdict struct {
	Ref
	Fate Fate
	// Attempts as written.
	Attempts int
}

// Reader is a session that reads pending rows. One goroutine at a time may use
// it. After an error the session is of no use: close it.
type Reader interface {
	TailWatch

	// Begin starts a pass: one short statement.
	Begin(ctx context.Context) (Pass, error)
	// Chunk reads the next rows of a pass in id order, one short statement whose
	// result is in memory when it returns.
	Chunk(ctx context.Context, req ChunkRequest) (Chunk, error)
	// Survey reads all rows that are due, and those that wait for a retry, as one
	// snapshot sees them. If there are more than asked for, or the server fails on one
	// of them, the survey is not Complete and has no rows.
	Survey(ctx context.Context, req ChunkRequest) (Survey, error)
	// Close ends the session without waiting for the server. Idempotent.
	Close()
}

// TailWatch is what a tail asks on another session than its own.
type TailWatch interface {
	// Snapshot is what a statement sees now.
	Snapshot(ctx context.Context) (wal.Snapshot, error)
	// InspectTail checks whether the tail can be trusted: whether its publication
	// sends all rows, and how far the tail is behind. An error that wraps [ErrNoTail]
	// concerns the tail and not the session.
	InspectTail(ctx context.Context, t Tail) (TailLag, error)
	// AwaitWake blocks until somebody says that rows are due of which the log does not
	// tell, such as replayed ones, or until a while has passed, and says which. Anyone who
	// may connect can send that signal, so it may be false. idle is a part of ctx: when it
	// ends, the call returns, and the session is as good as before.
	AwaitWake(ctx, idle context.Context) (bool, error)
}

// Pass is the frame of one pass over the table: what its first snapshot saw.
type Pass struct {
	// Bound is the largest id visible when the pass began; 0 for an empty table.
	Bound int64
	// Start is the time, by PostgreSQL's clock, by which the pass judges
	// available_at.
	Start time.Time
	// Scheduled are the ids of the scheduled rows that are due, ascending. If there
	// are many, they are the rows that have been due longest.
	Scheduled []int64
	// Snapshot is what the pass's first statement saw.
	Snapshot wal.Snapshot
}

// ChunkRequest asks for the next rows of a pass.
type ChunkRequest struct {
	Pass  Pass
	After int64 // the cursor: rows with a larger id
	Rows  int   // at most so many rows
	Bytes int64 // at most so many bytes of [Message.Size]
	// MaxMessageBytes is the longest payload that may be fetched; 0 for no limit.
	MaxMessageBytes int64
	// ExcludeKeys are the keys, by their [KeyName], whose rows are left out.
	ExcludeKeys []string
	// OnlyKey, if not nil, is the name of the key whose rows alone are read; then
	// nothing is excluded.
	OnlyKey *string
	// KeyRows is how many rows of one key a survey reads at most. It then reads no row
	// behind one that waits for its retry. 0 is no bound, for keys that do not order.
	// See [Survey.Cut].
	KeyRows int
	// TopicRows is how many rows are wanted of these topics, of which the sink takes
	// few now. Of further ones that have a key only the names come, see [Row.Left];
	// those without a key are left out. It does not concern OnlyKey.
	TopicRows map[string]int
	// Unordered says that no row waits for another of its key. Then no names come
	// either.
	Unordered bool
}

// Row is one row of a chunk.
type Row struct {
	*Message
	// Wait is how long the row has to wait for its retry, counted from
	// [Pass.Start]; 0 for a row that is due. The message of a waiting row has
	// only its names, with the [KeyName] for a key.
	Wait time.Duration
	// Scheduled says that the application, or a refusal, has set a time for it.
	Scheduled bool
	// Refused says that the row was refused before, also if a replay has reset its
	// attempts. The log does not tell of a replay.
	Refused bool
	// Newer says that the row is newer than the pass: its transaction may have ended
	// after the pass began. The pass may then have gone by another row of that
	// transaction and key.
	Newer bool
	// Left says that the row is due and not wanted, see [ChunkRequest.TopicRows]. Its
	// message has only its names, with the [KeyName] for a key: the rows of that key
	// wait for this one.
	Left bool
}

// LeftRow is a row with a key that a survey has seen and left in the table, see
// [Row.Left].
type LeftRow struct {
	ID  int64
	Key string // its [KeyName]
}

// Survey is all rows that are due or wait for a retry, as one snapshot sees them.
type Survey struct {
	Complete bool
	Rows     []Row // in id order; none unless Complete
	// Left are the rows of topics of which no more were wanted, in id order. They count
	// by their own against [ChunkRequest.Bytes], and not against Rows.
	Left []LeftRow
	// Cut has the keys, by their [KeyName], that may have more rows than
	// [ChunkRequest.KeyRows], and for each the id after which those rows come. Keys
	// with a row that waits are not in it.
	Cut map[string]int64
	// Blocked has the keys, by their [KeyName], that a dead row blocks, and for each the
	// id after which rows wait. Rows that wait so are not read.
	Blocked map[string]int64
	// Frame is the survey as a pass: what is read later of a key belongs to it.
	Frame    Pass
	Snapshot wal.Snapshot
	// Position is at or after the commit of whatever the snapshot sees.
	Position wal.LSN
	// NextScheduled is how long until the first row that the application has
	// scheduled is due; 0 where there is none.
	NextScheduled time.Duration
	// Synchronous says that synchronous_standby_names is set: the log has transactions
	// before other sessions can see them.
	Synchronous bool
}

// Chunk is a run of rows in id order.
type Chunk struct {
	Rows []Row
	// Cursor is the id to continue after.
	Cursor int64
	// Done says that the pass has no further rows.
	Done bool
	// NextSize is the size of the next row if that row alone is larger than
	// ChunkRequest.Bytes, so that the chunk is empty; 0 otherwise. To read the row, ask
	// again with that many bytes.
	NextSize int64
}
