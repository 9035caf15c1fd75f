// Package relay has the types and interfaces that all parts share: what a message
// is, what can become of it, and what the relay needs from a database and a broker.
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
// relay/engine runs the relay. relay/postgres implements [Database], the
// packages under sinks implement [Sink]. relay/wal is the arithmetic of the
// write-ahead log. cmd/outbox-relay puts them together. This package imports none
// of them but relay/wal.
package relay
