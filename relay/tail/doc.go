// Package tail reads the rows that are inserted into the outbox table from
// PostgreSQL's write-ahead log, through a temporary replication slot.
//
// # What it promises
//
// After [Stream.Start], [Stream.Next] gives every transaction that has committed
// since [Open], whole and in the order of the commits, with the rows that it inserted
// into the table. It gives nothing that was rolled back, a savepoint included. A row
// gets the same message as when a pass reads it from the table.
//
// Nothing is kept. The slot goes with its connection, and the position is confirmed
// as soon as it is read. Whatever breaks the stream, the rows are still in the
// table: the caller polls, and opens another stream when it can. Nothing here
// retries by itself.
//
// With a synchronous standby, the log has a transaction before others can see it.
// From PostgreSQL 15 on, a publication's row filter can hide rows from the log;
// [CheckPublication] refuses such a publication.
//
// # What it asks of the caller
//
// [Stream.Next] is for one goroutine. Close a stream that is not read for seconds.
// The server writes into the connection until its buffers are full, and then waits;
// a shutdown of the server and the removal of old log wait with it. Status updates
// keep the connection alive meanwhile.
//
// [Inspect] asks, on another session, how much of the log the server keeps for
// the slot. That grows while any transaction stays open, prepared ones included,
// however fast the stream is read.
//
// While transactions come fast, a stream that is told to ([Options.Coalesce]) waits before
// it reads, so that it, the server and whoever gets the rows are woken once for many.
//
// # Errors
//
// An [UnavailableError] has a [Reason] and says what a person has to fix, or which
// transaction is in the way. [ErrEnded], [ErrSilent] and all others are temporary.
// No error contains a payload or a password.
//
// # Memory
//
// A stream has one buffer of 64 KiB. A message that does not fit is taken off the
// connection value by value, so that a payload over the limit, and columns that
// nobody reads, take no memory however long they are.
package tail
