// Package postgres is the relay's side of the outbox table: it implements
// [relay.Database] on PostgreSQL 14 and later.
//
// # Sessions
//
// A leader has a control session, which holds the leadership lock and writes
// outcomes, and a read session, which reads rows. A standby has the control session
// alone. Each is one connection, opened by [Database.Connect] and
// [Database.OpenReader], used by one goroutine at a time, and of no use after an
// error: the caller closes it, and the server frees the lock with it.
//
// Whatever a role, a database or the URL has set, a session works with the
// settings of settings.go, and every statement has a deadline, on the client's
// side: a server that is frozen or cut off is an error after seconds.
//
// Nothing is set or locked before the way to the server is known: through a pooler
// that lends its connections out for a transaction, [Database.Connect] fails and
// says what to do. Through one in session mode all works but, with most of them,
// the tail.
//
// # Guarantees
//
// A row's identity is its id and its message id in every statement: a row that
// got an old id again (TRUNCATE … RESTART IDENTITY) is never marked for another.
// An acknowledged row is sent, also when it was declared dead meanwhile; a sent
// row is never touched. A row that somebody has locked holds up no other.
//
// A chunk holds no more bytes than asked for. A large row is measured before it is
// fetched, and a payload over the limit is never fetched. A row that the
// server cannot read is found and stops no other: it is tried again for ten
// seconds, unless what it contains is the cause, and then is that row's defect.
//
// # Statements
//
// The SQL stands in the folder sql. A file names its parameters and its columns.
// What one statement reads is bounded, and its plan does not depend on statistics:
// plan_test.go looks at each. The conditions of the partial indexes are those of
// package schema.
//
// # Beside the relay
//
// [Database.Stats] counts rows at a bounded cost, [Database.Examine] looks at all
// that the relay needs of the database. Both have sessions of their own, change
// nothing, and may run beside any number of relays.
//
// # Errors
//
// What a person has to fix wraps [relay.ErrSetup] and says what to run. A
// session that is not, or no longer, the leader's says [relay.ErrNotLeader].
// Every other error is temporary: the caller connects again. No error contains a
// password or a payload.
package postgres
