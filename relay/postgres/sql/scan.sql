-- The pending rows of a pass after a cursor, in the order of their ids. Rows that are
-- small come whole; of a row that is stored in more bytes there are only the
-- names, and fetch.sql gets the rest. One that waits for its retry, or that stays, is
-- small: only its names are of use.
SELECT {{if .Fenced}}fence.id{{else}}NULL::bigint{{end}} AS fence,
	o.id, message_id, created_at, attempts, available_at, writer, refused, stays, weight,
	CASE WHEN small THEN topic END AS topic,
	CASE WHEN small THEN key ELSE {{template "key_name" .}} END AS key,
	CASE WHEN small THEN content_type END AS content_type,
	CASE WHEN small THEN nullif(headers, '{}') END AS headers,
	CASE WHEN small THEN payload END AS payload
FROM {{if .Fenced}}({{template "fence" .}}) AS fence LEFT JOIN LATERAL {{end}}(
	SELECT *, due AND NOT stays AND weight <= {{.SmallRow}} AS small
	FROM (
		SELECT {{template "columns"}}, o.writer, o.refused, {{template "is_due"}} AS due, {{template "stays" .}} AS stays,
			CASE WHEN {{template "is_due"}} AND NOT {{template "stays" .}} THEN
				coalesce(octet_length(o.topic), 0)::bigint + coalesce(octet_length(o.key), 0) + coalesce(octet_length(o.content_type), 0)
				+ {{.JSONBWeight}}::bigint * coalesce(pg_column_size(o.headers), 0)
				+ {{.Payload.Weight}}::bigint * coalesce({{.Payload.Stored}}, 0)
			ELSE 0 END AS weight
		FROM ({{template "pass_rows" .}}) AS o
		ORDER BY id LIMIT @rows::bigint
	) AS weighed
) AS o{{if .Fenced}} ON true{{end}}
