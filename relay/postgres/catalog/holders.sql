-- Who holds the lock, the oldest process first. Of another role's session there are only
-- the names, unless this role has pg_monitor. The lock of a prepared transaction has no
-- process; the transaction is found by the lock on its id.
SELECT coalesce(l.pid, 0)::bigint AS pid,
	CASE WHEN l.pid IS NULL THEN coalesce((
		SELECT min(p.gid) FROM pg_locks AS x JOIN pg_prepared_xacts AS p ON p.transaction = x.transactionid
		WHERE x.pid IS NULL AND x.virtualtransaction = l.virtualtransaction
	), '?') ELSE '' END AS prepared,
	coalesce(a.usename::text, '') AS role,
	coalesce(a.application_name, '') AS application,
	coalesce(a.state, '') AS state,
	concat_ws(' ', a.wait_event_type, a.wait_event) AS wait,
	coalesce(extract(epoch FROM clock_timestamp() - a.state_change) * 1000000, 0)::bigint AS quiet,
	starts_with(coalesce(a.application_name, ''), @relays) AS named_relay
FROM pg_locks AS l LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid
WHERE {{template "is_held"}}
ORDER BY a.backend_start, 1
