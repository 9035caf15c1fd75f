// Package engine runs the relay: it moves the rows of an outbox table to a message
// broker. Its contract is in package relay.
//
// The table is the only state: its unsent rows are the work. A relay that is killed at
// any point loses only its place. The intake reads pending
// rows, the dispatcher decides which may go next, a [relay.Sink] publishes them,
// and the marker writes what became of them through the [relay.Control] session,
// which also holds the lock that makes this relay the leader.
//
//	log ───► tail ──┐
//	       reader ──┴► intake ─► dispatcher ─► sink ─► broker
//	           ▲                    ▲          │ outcome
//	         table ◄─── marker ◄────┴──────────┘
//
// Polling is the base state. A [relay.Tail], which reads the write-ahead log, is an
// upgrade that makes delivery fast. Whatever breaks it, the relay is polling again.
//
// # Words
//
// Each has one meaning, here and in the log:
//
//   - A pass reads due rows in chunks, while polling.
//   - A survey reads all due rows in one snapshot, while tailing.
//   - A hold makes the rows of a key wait in the table. A parked key waits too, but
//     only until its chain in memory empties: the pass or the tail then reads on.
//   - A row returns to the table when it leaves memory unpublished, and is left to
//     the table when it never came into memory.
//   - A topic is full while the sink takes no more of its messages, because they come
//     late and enough of them wait already. Its rows are left to the table.
//   - A row is late if the running pass may have gone by another row of its key.
//   - A suspect is a message that was in flight at two losses of the connection in a
//     row, and may be their cause.
//   - A stall is a time without progress, whatever the cause.
//   - A breaker is open while something takes nothing: the sink's, the table's.
//   - A chain is the messages of one key in memory; a lane is where the sink publishes
//     many of them at once. One is withdrawn if the sink gives it back, unpublished.
//   - A row is unmarkable if the server refuses its outcome and takes those of others.
//   - A tail is the life of one replication slot, from its creation to its end.
//   - A statement, a request or a survey is out from when the loop has sent it until
//     its answer has come.
//   - To tell is to publish a copy of one's state for others; told is that copy.
//
// # Concurrency
//
// One term of leadership is four goroutines, and a fifth while there is a tail.
// The loop (term.go) owns all state: what is in flight, which keys are held, the
// chains and the window, how far the tail has got. A read session and the
// marker each own one database session and do what the loop asks; a stream owns the
// session that reads the log. The prober asks a broken sink whether it is back. The sink has its
// own. They speak through channels and mailboxes; nothing here is shared.
//
// What can be decided without a server is plain arithmetic, stepped by tests: the
// dispatcher, chain, holds, parkedKeys, horizon, surveyClock, lagWatch, pacer, progress,
// tableBreaker. A whole term can be stepped too: testdata has a file for each
// schedule, which can be read on its own.
//
// # Rules
//
// docs/rules.md has the rules of delivery by number, each with the schedule that
// would lose, double or reorder a message without it. Several types close such a
// schedule, and their comments tell it: inFlight, holds, intake.take, pass,
// dispatcher, chain, suspects, marker, unmarkable, tableBreaker, horizon, gate and unconfirmed.
//
// This package imports no adapter.
package engine
