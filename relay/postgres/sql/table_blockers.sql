-- Which sessions have a lock on the table that keeps its rows from being written.
SELECT l.pid::bigint AS pid, coalesce(a.application_name, '') AS application, '' AS prepared
FROM pg_locks AS l LEFT JOIN pg_stat_activity AS a USING (pid)
WHERE l.granted AND l.pid <> pg_backend_pid() AND l.locktype = 'relation' AND l.relation = to_regclass(@table::text)
	AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
	AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
LIMIT 10
