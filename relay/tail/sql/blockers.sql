-- The oldest transactions that have an id, of any database. Each holds a lock on its id,
-- and everybody may read pg_locks. The savepoints of a transaction have ids too.
SELECT xid, pid, application, prepared, database, age FROM (
	SELECT DISTINCT ON (l.virtualtransaction) l.transactionid AS xid, pg_catalog.age(l.transactionid) AS oldness,
		coalesce(l.pid, 0)::bigint AS pid, coalesce(a.application_name, '') AS application, coalesce(p.gid, '') AS prepared,
		coalesce(a.datname, p.database, '')::text AS database,
		coalesce(extract(epoch FROM pg_catalog.clock_timestamp() - coalesce(p.prepared, a.xact_start)), 0)::bigint AS age
	FROM pg_catalog.pg_locks AS l
	LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
	LEFT JOIN pg_catalog.pg_prepared_xacts AS p ON p.transaction = l.transactionid
	WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted
		AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
	ORDER BY l.virtualtransaction, pg_catalog.age(l.transactionid) DESC
) AS open
ORDER BY oldness DESC LIMIT 10
