-- Starts a pass. Each question is answered by the end of an index, so that an idle
-- table costs next to nothing.
SELECT
	coalesce((SELECT max(id) FROM {{.Table}}), 0) AS bound,
	statement_timestamp() AS start,
	{{template "due_scheduled" .}} AS scheduled,
	pg_current_snapshot()::text AS snapshot
