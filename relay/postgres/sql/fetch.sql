-- Measures large rows and sends those that fit, in their order, between the small rows
-- that are there already. A row's size is computed as in relay/row.go.
--
-- OFFSET 0 keeps the planner from merging the levels, which would measure each row
-- several times. The guards come before the conversions that they guard.
SELECT n, id, message_id, created_at, attempts, available_at,
	topic_length, key_length, content_type_length, headers_length, payload_length,
	fits OR bloated OR over OR NOT due AS fetched,
	CASE WHEN due AND NOT bloated THEN topic END AS topic,
	CASE WHEN NOT due THEN {{template "key_name" .}} WHEN NOT bloated OR key_length <= {{.MaxKey}} THEN key END AS key,
	CASE WHEN due AND NOT bloated THEN content_type END AS content_type,
	CASE WHEN fits AND due AND NOT bloated AND NOT over THEN headers END AS headers,
	CASE WHEN fits AND due AND NOT bloated AND NOT over THEN payload END AS payload
FROM (
	-- A sum of bigint is numeric, which is slow; a double counts up to 2^53.
	SELECT *, before + sum(({{.Overhead}} + CASE WHEN bloated OR NOT due THEN 0 WHEN over THEN plain ELSE plain + payload_length END)::float8)
		OVER (ORDER BY n ROWS UNBOUNDED PRECEDING) <= @bytes::bigint AS fits
	FROM (
		SELECT *, plain > {{.MaxPlain}} AS bloated, payload_length > @longest::bigint AS over
		FROM (
			SELECT *, topic_length + key_length + content_type_length
				+ CASE WHEN headers_length > 2 THEN headers_length * {{.HeaderCost}} ELSE 0 END AS plain
			FROM (
				SELECT m.n, m.before, {{template "columns"}}, {{template "is_due"}} AS due,
					coalesce(octet_length(o.topic), 0)::bigint AS topic_length,
					coalesce(octet_length(o.key), 0)::bigint AS key_length,
					coalesce(octet_length(o.content_type), 0)::bigint AS content_type_length,
					CASE WHEN NOT {{template "is_due"}} THEN 0
						WHEN pg_column_size(o.headers) > {{.MaxPlain}} THEN pg_column_size(o.headers)
						ELSE coalesce(octet_length(o.headers::text), 0) END::bigint AS headers_length,
					CASE WHEN NOT {{template "is_due"}} THEN 0
						WHEN {{.Payload.Stored}} / {{.Payload.Spread}} > @longest::bigint THEN {{.Payload.Stored}}
						ELSE coalesce({{.Payload.Length}}, 0) END::bigint AS payload_length
				FROM unnest(@ids::bigint[], @message_ids::uuid[], @before::bigint[]{{template "and_times" .}})
					WITH ORDINALITY AS m (id, message_id, before{{template "and_time" .}}, n)
				JOIN {{.Table}} AS o ON {{template "same_row"}}{{template "in_partition" .}} AND {{template "unsent"}} AND (o.dead_at IS NULL) IS TRUE
				OFFSET 0
			) AS measured
			OFFSET 0
		) AS summed
		OFFSET 0
	) AS judged
) AS o
