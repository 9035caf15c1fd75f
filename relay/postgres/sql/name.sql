-- Reads the id of the next row of a scan, which the server fails to read whole.
SELECT o.id, message_id, created_at, attempts, available_at
	{{- if .Named}}, {{template "key_name" .}} AS key{{else}}, NULL AS key{{end}}
FROM (
	SELECT * FROM ({{template "pass_rows" .}}) AS p ORDER BY id LIMIT 1
) AS o
