-- What is noted beside the table. More than one row: that of another system was restored
-- into this one. Each relay reads it each second, so texts that others write are cut.
SELECT noted_at, noted_by, coalesce(system_identifier, '') AS system, database, coalesce(environment, '') AS environment,
	paused_at, coalesce(left(paused_by, 300), '') AS paused_by, coalesce(left(pause_reason, 1000), '') AS pause_reason
FROM {{.Note}} ORDER BY noted_at LIMIT 10
