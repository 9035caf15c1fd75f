// Package wal is the arithmetic of PostgreSQL's write-ahead log: positions,
// transaction ids and snapshots. It is pure: no I/O, no clock, no state.
//
// An [LSN] is a position in the log. A [FullXID] is a transaction id that never
// wraps around; an [XID] is its lower half, which is all that the log carries. A
// [Snapshot] says which transactions had ended when a statement began, and is the
// only thing that makes sense of an [XID].
package wal
