-- Deletes acknowledged rows, including those that were marked under an earlier
-- configuration. Their notes are lost.
WITH batch AS (
	SELECT * FROM unnest(@ids::bigint[], @message_ids::uuid[], @notes::text[]{{template "and_times" .}}) AS b (id, message_id, note{{template "and_time" .}})
)
{{- if .Patient}}, free AS MATERIALIZED (
	SELECT m.* FROM batch AS m JOIN {{.Table}} AS o ON {{template "same_row"}}{{template "in_partition" .}}
	FOR UPDATE OF o SKIP LOCKED
)
{{- end}}
DELETE FROM {{.Table}} AS o
USING {{if .Patient}}free{{else}}batch{{end}} AS m
WHERE {{template "same_row"}}{{template "in_partition" .}}
RETURNING o.id, {{template "message_id"}} AS message_id
