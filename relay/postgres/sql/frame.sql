-- Takes the survey's snapshot, and looks up what goes with it. The position is read
-- while the statement runs, and so after its snapshot was taken.
SELECT
	coalesce((SELECT max(id) FROM {{.Table}}), 0) AS bound,
	statement_timestamp() AS start,
	{{template "due_scheduled" .}} AS scheduled,
	(SELECT available_at FROM {{.Table}}
		WHERE {{.ScheduledRows}} AND available_at > statement_timestamp() AND available_at < 'infinity'
		ORDER BY available_at LIMIT 1) AS next_scheduled,
	pg_current_snapshot()::text AS snapshot,
	(pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint AS position,
	current_setting('synchronous_standby_names') <> '' AS synchronous
