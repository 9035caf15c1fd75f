-- Which sessions hold locks on the table, the oldest transaction first, in words.
SELECT {{template "session"}} AS session
FROM pg_locks AS l LEFT JOIN pg_stat_activity AS a USING (pid)
WHERE l.granted AND l.relation = to_regclass(@table)
	AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
GROUP BY a.pid, a.application_name
ORDER BY min(a.xact_start) LIMIT 5
