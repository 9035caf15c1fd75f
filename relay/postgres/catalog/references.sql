-- The tables with a foreign key that references the outbox table.
SELECT DISTINCT r.conrelid::regclass::text AS referencing FROM pg_constraint AS r
WHERE r.contype = 'f' AND r.confrelid = @oid ORDER BY referencing
