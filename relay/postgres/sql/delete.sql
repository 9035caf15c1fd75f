-- Deletes acknowledged rows, including those that were marked under an earlier
-- configuration. Their notes are lost.
WITH batch AS (
	SELECT * FROM unnest(@ids::bigint[], @message_ids::uuid[], @notes::text[]) AS b (id, message_id, note)
)
{{- if .Patient}}, free AS MATERIALIZED (
	SELECT m.* FROM batch AS m JOIN {{.Table}} AS o ON {{template "same_row"}}
	FOR UPDATE OF o SKIP LOCKED
)
{{- end}}
DELETE FROM {{.Table}} AS o
USING {{if .Patient}}free{{else}}batch{{end}} AS m
WHERE {{template "same_row"}}
RETURNING o.id, {{template "message_id"}} AS message_id
