-- What is noted beside the table. More than one row: that of another system was restored
-- into this one.
SELECT noted_at, noted_by, coalesce(system_identifier, '') AS system, database, coalesce(environment, '') AS environment,
	paused_at, coalesce(paused_by, '') AS paused_by, coalesce(pause_reason, '') AS pause_reason
FROM {{.Note}} ORDER BY noted_at LIMIT 10
