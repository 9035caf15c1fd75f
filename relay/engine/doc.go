// Package engine is the relay at work: it moves the rows of an outbox table to a
// message broker. Its contract is that of package relay.
//
// The table is the only state: unsent rows are what there is to do, and a relay
// that is killed at any point loses nothing but its place. The intake reads pending
// rows, the dispatcher decides which may go next, a [relay.Sink] publishes them,
// and the marker writes what became of them through the [relay.Control] session,
// which also holds the lock that makes this relay the leader.
//
//	log ───► tail ──┐
//	         sweep ─┴► intake ─► dispatcher ─► sink ─► broker
//	           ▲                    ▲          │ outcome
//	         table ◄─── marker ◄────┴──────────┘
//
// Polling is the base state: passes read the table in chunks. A [relay.Tail], which
// reads the write-ahead log, is an upgrade that makes delivery fast; surveys join
// it to the table and reconcile the two, and whatever breaks it, the relay is
// polling again.
//
// # Concurrency
//
// One term of leadership is four goroutines, and a fifth while there is a tail.
// The loop (term.go) owns all state: what is in flight, which keys are held, the
// chains and the window, how far the tail has got. The sweeper and the marker
// each own one database session and do what the loop asks; a stream owns the
// session that reads the log. The prober asks a broken sink whether it is back.
// The sink has its own.
// They speak through channels and mailboxes; nothing here is shared.
//
// # Rules
//
// Several types close a schedule that would lose, double or reorder a message.
// Their comments tell the schedule: inFlight, holds, dispatcher, suspects,
// pacer, marker, tailing, lagWatch, gate and unconfirmed.
//
// This package imports no adapter.
package engine
