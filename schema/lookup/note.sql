-- What is noted beside the table. More than one row: that of another system was restored
-- into this one.
SELECT noted_at, noted_by, coalesce(system_identifier, '') AS system, database, coalesce(environment, '') AS environment
FROM {{.Note}} ORDER BY noted_at LIMIT 10
