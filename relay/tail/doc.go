// Package tail reads the rows that are inserted into the outbox table from
// PostgreSQL's write-ahead log, through a temporary replication slot.
//
// # What it promises
//
// From [Open] on, every transaction that commits is told after [Stream.Start],
// whole, and in the order of the commits, with the rows it inserted into the
// table: what was rolled back, to a savepoint too, is not. A row gets the message
// that a sweep would make of it. What a transaction of the log is, in terms of a
// sweep, says [Snapshot.Sees].
//
// Nothing is kept. The slot goes with its connection, the position is confirmed
// as soon as it is read, and whatever breaks the stream, the rows are still in
// the table: the caller polls, and opens another stream when it can. Nothing here
// tries again by itself.
//
// With a synchronous standby the log tells of a transaction before others can
// see it; with publications of PostgreSQL 15 and later it does not tell of what
// a row filter hides, which [CheckPublication] refuses.
//
// # What it asks of the caller
//
// [Stream.Next] is for one goroutine. The server writes what is not read into
// the connection until that is full, and then waits, and with it a shutdown of the
// server and the removal of old log: close a stream that is not read for seconds.
// Status updates keep the connection alive meanwhile.
//
// [LookUpLag] tells, on another session, how much of the log the server keeps for
// the slot. It grows with any transaction that stays open, prepared ones
// included, however fast the stream is read.
//
// # Errors
//
// An [UnavailableError] has a [Reason] and says what a person has to fix, or which
// transaction is in the way. [ErrEnded], [ErrSilent] and all others are passing.
// No error contains a payload or a password.
//
// # Memory
//
// A stream has one buffer of 64 KiB. A message that does not fit is taken off the
// connection value by value, so that a payload over the limit, and columns that
// nobody reads, take no memory however long they are.
package tail
