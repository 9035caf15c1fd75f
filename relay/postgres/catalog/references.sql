-- The tables with a foreign key that references the outbox table, or a partition of it.
SELECT DISTINCT r.conrelid::regclass::text AS referencing FROM pg_constraint AS r
WHERE r.contype = 'f' AND (r.confrelid = @oid OR r.confrelid IN (SELECT relid FROM pg_partition_tree(@oid))) ORDER BY referencing
