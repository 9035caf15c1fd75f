// Package engine runs the relay: it moves the rows of an outbox table to a message
// broker. Its contract is in package relay.
//
// The table is the only state: its unsent rows are the work. So a relay that is killed
// at any point loses nothing; the next one begins at the first unsent row. The intake
// reads pending rows, the dispatcher decides which may go next, a [relay.Sink]
// publishes them, and the marker writes what became of them through the [relay.Control]
// session, which also holds the lock that makes this relay the leader.
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
//   - A row is newer than the running pass if it may have been committed after the pass
//     began. The pass may have gone by an earlier row of its key.
//   - A message is late if it is not acknowledged in time, and then its topic is late.
//   - The head of a key is its first row that is neither sent nor dead.
//   - A row is taken from when it comes into memory until its outcome is committed, or
//     until it returns.
//   - A message is in flight from when it is published until its outcome is committed.
//     It is with the sink until the sink has reported the outcome. A sink does not see
//     the commit: there, a message is in flight while it is with the sink.
//   - A refill reads rows of a parked key.
//   - A suspect is a message that was with the sink at two losses of the connection in a
//     row, and may be their cause.
//   - A stall is a time in which there is work and no progress, whatever the cause.
//   - The breaker of the sink is open while the sink takes no messages, that of the
//     table while the table takes no outcomes.
//   - A chain is the messages of one key in memory. The sink may publish many of them
//     at once in a lane, in which the broker stores them in order. A message is
//     withdrawn if the sink gives it back although nothing is wrong with it.
//   - A row is unmarkable if the server refuses its outcome and takes those of others.
//   - A tail is the life of one replication slot, from its creation to its end.
//   - A statement, a request or a survey is out while the loop waits for its answer.
//   - The note beside the table says where the table belongs. A table of another
//     environment is foreign: nothing of it is published. A doubt is that the table may be
//     a copy, and stops nothing.
//   - A pause, which stands in the note too, leaves what is not published to the table.
//   - A goroutine tells its state when it publishes a copy of it for others; told is
//     that copy.
//
// # Concurrency
//
// One term of leadership is four goroutines, and a fifth while there is a tail. The
// loop (term.go) owns all state: which rows were taken, which keys are held, the chains
// and the window, how far the tail has got. A read session and the marker each own one
// database session and do what the loop asks; a stream owns the session that reads the
// log. The prober asks a broken sink whether it is back. The sink has its own. The
// goroutines communicate through channels and mailboxes, and share no state but what
// they have told.
//
// The decisions that need no server are types without I/O, clock and goroutine, which
// tests call step by step: the dispatcher, chain, holds, parkedKeys, horizon,
// surveyClock, lagWatch, pacer, progress, tableBreaker. Tests can step a whole term
// too: testdata has a readable file for each schedule.
//
// # Rules
//
// docs/rules.md has the rules of delivery by number, each with the schedule that would
// lose, double or reorder a message without it. Several types prevent such a schedule,
// and their comments describe it: takenRows, holds, intake.take, pass, dispatcher,
// chain, suspects, marker, unmarkable, tableBreaker, horizon, gate and unconfirmed.
//
// This package imports no adapter.
package engine
