// Package schema holds the outbox table's SQL and the migrator that runs it.
//
// outbox.sql is the whole of the table: columns, indexes, trigger, autovacuum
// settings and publication. [Migrate] runs it; [SQL] prints the same text for an
// application's own migration tool, so there is no version table: what is
// missing is found in the catalogs. role.sql is the least-privilege role, run by
// [GrantRole] and printed by [RoleSQL].
//
// The migration is one transaction, may be run again at any time, also by two
// at once and beside a running relay and application, and never drops or retypes
// anything. On a table that is up to date it changes no catalog row and takes no
// lock on the table. On a table of an older version it adds what is missing; the
// locks for that are asked for with a short lock_timeout and, by [Migrate],
// again and again, because a waiting ALTER TABLE stops every INSERT behind it.
//
// Identifiers and the payload type are the only text that varies, quoted here
// and nowhere else.
package schema
