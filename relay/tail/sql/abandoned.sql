-- Slots that nobody reads.
SELECT slot_name::text AS name, pg_size_pretty(coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)) AS retained
FROM pg_replication_slots WHERE NOT active AND NOT temporary
ORDER BY restart_lsn LIMIT 10
