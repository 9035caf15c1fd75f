// Package relay holds the words of the relay: what a message is, what can become
// of it, and what the relay asks of a database and of a broker.
//
// # Contract
//
// Delivery is at least once under a stable message id. A row that commits
// reaches the sink, a row that is rolled back never does. Rows of one key whose
// transactions do not overlap are first delivered in the order of their
// commits, those of one transaction in the order of their ids; rows without a key
// in any order. A row is marked sent only after the broker has acknowledged it.
//
// # Where things are
//
// relay/engine is the relay at work. relay/postgres implements [Database], the
// packages under sinks implement [Sink]. relay/wal is the arithmetic of the
// write-ahead log. cmd/outbox-relay puts them together. This package imports none
// of them but relay/wal.
package relay
