// Package oracle says whether a relay kept its promises. It belongs to no test
// in particular: whatever moves rows from the table to the stream, and whatever
// is done to it meanwhile, the oracle looks only at the two ends.
//
// At one end a [Load] writes rows as an application would: several connections,
// aggregates locked before the insert, rollbacks, savepoints, sessions that are
// killed. Each transaction also writes what it inserted to a ledger, so the
// ledger holds exactly what was committed; a commit whose outcome the writer
// never learned is answered by the ledger too.
//
// At the other end [Collect] reads the whole stream in stream order on a
// connection of its own, and [ReadTable] the outbox.
//
// [Judge] compares them, without I/O, clause by clause: each kind of [Finding]
// is one promise broken. Its tests run it on a real PostgreSQL and a real broker
// beside a naive relay that breaks one promise at a time, and demand that the
// clause in question, and no other, is reported.
package oracle
