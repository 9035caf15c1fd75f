-- Takes a transaction id of its own.
SELECT pg_catalog.pg_current_xact_id()::text AS xid
