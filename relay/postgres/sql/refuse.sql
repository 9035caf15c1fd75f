-- Counts a refusal, or gives up a row that was not published. A row that is dead already
-- stays dead.
--
-- The commit has to be durable, on a session where others are not: set_config with
-- is_local does for this transaction what SET LOCAL would in another round trip.
WITH batch AS (
	SELECT * FROM unnest(@ids::bigint[], @message_ids::uuid[], @reasons::text[], @types::text[], @delays::bigint[], @finals::boolean[], @attempted::boolean[]{{template "and_times" .}})
		AS b (id, message_id, reason, type, delay, final, attempted{{template "and_time" .}})
)
{{- if .Patient}}, free AS MATERIALIZED (
	SELECT m.* FROM batch AS m JOIN {{.Table}} AS o ON {{template "same_row"}}{{template "in_partition" .}} AND {{template "unsent"}}
	FOR NO KEY UPDATE OF o SKIP LOCKED
)
{{- end}}
UPDATE {{.Table}} AS o
SET attempts = least(coalesce(o.attempts, 0), 2147483646) + CASE WHEN m.attempted THEN 1 ELSE 0 END,
	last_error = m.reason,
	{{- if .ErrorType}}
	error_type = m.type,
	{{- end}}
	first_attempt_at = coalesce(o.first_attempt_at, CASE WHEN m.attempted THEN now() END),
	available_at = CASE WHEN m.attempted THEN now() + m.delay * interval '1 microsecond' ELSE o.available_at END,
	dead_at = CASE
		WHEN o.dead_at IS NOT NULL THEN o.dead_at
		WHEN m.final THEN now()
		WHEN coalesce(o.attempts, 0) + 1::bigint >= @limit::bigint
			AND coalesce(o.first_attempt_at, now()) <= now() - @age::bigint * interval '1 microsecond' THEN now()
	END
FROM (SELECT set_config('synchronous_commit', 'on', true)) AS durable (setting), {{if .Patient}}free{{else}}batch{{end}} AS m
WHERE {{template "same_row"}}{{template "in_partition" .}} AND {{template "unsent"}} AND durable.setting IS NOT NULL
RETURNING o.id, {{template "message_id"}} AS message_id, o.attempts, o.dead_at IS NOT NULL AS dead
