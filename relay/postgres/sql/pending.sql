-- Which rows of a batch still wait for a write. An acknowledged row that is to be
-- deleted waits for as long as it exists; a refused row that is sent waits no more. The patient one leaves
-- out the rows that somebody has locked.
SELECT o.id, {{template "message_id"}} AS message_id
FROM unnest(@ids::bigint[], @message_ids::uuid[]) AS m (id, message_id)
JOIN {{.Table}} AS o ON {{template "same_row"}}{{if not .Delete}} AND {{template "unsent"}}{{end}}
{{- if .Patient}}
FOR {{if .Delete}}UPDATE{{else}}NO KEY UPDATE{{end}} OF o SKIP LOCKED
{{- end}}
