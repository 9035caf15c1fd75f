-- Topics of pending rows, or of the newest rows.
SELECT DISTINCT topic
FROM ({{if .Newest}}SELECT topic FROM {{.Table}} ORDER BY id DESC LIMIT @most::bigint{{else}}{{template "pending_sample" .}}{{end}}) AS seen
ORDER BY topic LIMIT @topics::bigint
