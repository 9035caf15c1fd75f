-- Waits for nobody.
SELECT pg_try_advisory_xact_lock(hashtextextended('outbox-relay indexes of ' || @table, 0)) AS alone
