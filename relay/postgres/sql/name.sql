-- Names the next row of a scan, which the server fails to read whole.
SELECT id, message_id, created_at, attempts, available_at
FROM ({{template "pass_rows" .}}) AS o
ORDER BY id LIMIT @rows::bigint
