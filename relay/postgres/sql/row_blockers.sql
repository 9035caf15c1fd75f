-- Which transactions have rows of a batch locked. A row names the transaction that has
-- it locked, or a group of them. pg_blocking_pids would have to be asked by another
-- session, while this one waits.
WITH locker AS (
	SELECT DISTINCT {{if .Group}}(pg_get_multixact_members(o.xmax)).xid{{else}}o.xmax{{end}} AS xid
	FROM unnest(@ids::bigint[], @message_ids::uuid[]) AS m (id, message_id)
	JOIN {{.Table}} AS o ON {{template "same_row"}}
	WHERE o.xmax <> '0'::xid
)
SELECT coalesce(l.pid, 0)::bigint AS pid, coalesce(a.application_name, '') AS application, coalesce(p.gid, '') AS prepared
FROM locker
JOIN pg_locks AS l ON l.locktype = 'transactionid' AND l.granted AND l.transactionid = locker.xid
LEFT JOIN pg_stat_activity AS a USING (pid)
LEFT JOIN pg_prepared_xacts AS p ON p.transaction = locker.xid
WHERE l.pid IS DISTINCT FROM pg_backend_pid()
LIMIT 10
