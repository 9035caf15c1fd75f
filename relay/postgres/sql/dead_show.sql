-- All of some rows, dead or not, for a person to read.
SELECT o.id, {{template "message_id"}} AS message_id, left(o.topic, {{.MaxText}}) AS topic, left(o.key, {{.MaxText}}) AS key,
	coalesce(o.attempts, 0) AS attempts, o.created_at, o.first_attempt_at, o.dead_at,
	left(o.last_error, {{.MaxText}}) AS last_error, left({{template "dead_type" .}}, {{.MaxText}}) AS error_type,
	o.available_at, o.sent_at, {{if .DeadLetter}}o.dead_letter_at{{else}}NULL::timestamptz{{end}} AS dead_letter_at,
	left(o.content_type, {{.MaxText}}) AS content_type, left(o.headers::text, {{.MaxPayload}}) AS headers,
	{{if .Bytes}}substring(o.payload FROM 1 FOR {{.MaxPayload}}){{else}}left(o.payload::text, {{.MaxPayload}}){{end}} AS payload,
	{{if .Bytes}}octet_length(o.payload){{else}}octet_length(o.payload::text){{end}}::bigint AS payload_bytes
FROM unnest(@ids::bigint[]) AS m (id)
JOIN {{.Table}} AS o ON {{template "same_id"}}
-- No index has them in this order: the table is not walked to save a sort.
ORDER BY o.id + 0
