-- All of a dead row that a copy may carry. What is too long for a copy is NULL.
SELECT o.id, {{template "message_id"}} AS message_id, left(o.topic, {{.MaxText}}) AS topic,
	CASE WHEN octet_length(o.key) <= {{.MaxText}} THEN o.key END AS key,
	left(o.content_type, {{.MaxText}}) AS content_type,
	CASE WHEN octet_length(o.headers::text) <= 65536 THEN o.headers::text END AS headers,
	CASE WHEN octet_length({{if .Bytes}}o.payload{{else}}o.payload::text{{end}}) <= @longest::bigint
		THEN {{if .Bytes}}o.payload{{else}}o.payload::text{{end}} END AS payload,
	o.created_at, o.first_attempt_at, o.dead_at, coalesce(o.attempts, 0) AS attempts, left(o.last_error, {{.MaxText}}) AS last_error, {{template "dead_type" .}} AS error_type
FROM unnest(@ids::bigint[], @message_ids::uuid[]) AS m (id, message_id)
JOIN {{.Table}} AS o ON {{template "same_row"}}
WHERE CASE WHEN {{.Dead}} THEN true ELSE false END
