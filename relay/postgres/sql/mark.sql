-- Sets sent_at of acknowledged rows. An acknowledged row is sent even if somebody has
-- declared it dead meanwhile: then it is no longer dead. last_error keeps the last
-- refusal unless there is a note.
WITH batch AS (
	SELECT * FROM unnest(@ids::bigint[], @message_ids::uuid[], @notes::text[]{{template "and_times" .}}) AS b (id, message_id, note{{template "and_time" .}})
)
{{- if .Patient}}, free AS MATERIALIZED (
	SELECT m.* FROM batch AS m JOIN {{.Table}} AS o ON {{template "same_row"}}{{template "in_partition" .}} AND {{template "unsent"}}
	FOR NO KEY UPDATE OF o SKIP LOCKED
)
{{- end}}
UPDATE {{.Table}} AS o
SET sent_at = now(), dead_at = NULL, last_error = coalesce(m.note, o.last_error)
FROM {{if .Patient}}free{{else}}batch{{end}} AS m
WHERE {{template "same_row"}}{{template "in_partition" .}} AND {{template "unsent"}}
RETURNING o.id, {{template "message_id"}} AS message_id
