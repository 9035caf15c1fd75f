{{- /* Parts of the statements about dead rows. */ -}}

{{- /* The kind of a row's last refusal. A row that an older version of the relay has
refused has it only at the beginning of last_error. */ -}}
{{define "dead_type"}}coalesce({{if .ErrorType}}o.error_type{{else}}NULL{{end}},
	CASE WHEN o.last_error ~ '^[a-z_]+: ' THEN split_part(o.last_error, ':', 1) END){{end}}

{{- /* What is read of a dead row, and no more: a table may have columns of the
application's that the role may not see. */ -}}
{{define "dead_columns"}}o.id, o.message_id, o.topic, o.key, o.attempts, o.created_at, o.first_attempt_at, o.sent_at, o.dead_at, o.last_error
	{{- if .ErrorType}}, o.error_type{{end}}{{end}}

{{- /* The next dead rows after a cursor, and whether the filter takes them. The filter
stands outside of the LIMIT, so that a statement's work is bounded whatever it rejects.
What a person reads is cut: an application may have written megabytes into any of it. */ -}}
{{define "dead_page"}}
	SELECT o.*, coalesce((@topic::text IS NULL OR o.topic COLLATE "C" LIKE @topic::text)
		AND (@key::text IS NULL OR o.key COLLATE "C" = @key::text)
		AND (@error::text IS NULL OR strpos(lower(o.last_error), lower(@error::text)) > 0)
		AND (@type::text IS NULL OR o.type COLLATE "C" = @type::text)
		AND (@since::timestamptz IS NULL OR o.dead_at >= @since::timestamptz)
		AND (@until::timestamptz IS NULL OR o.dead_at <= @until::timestamptz), false) AS matches
	FROM (
		SELECT o.id, {{template "message_id"}} AS message_id, o.topic, o.key, coalesce(o.attempts, 0) AS attempts, o.created_at,
			o.first_attempt_at, o.dead_at, o.last_error, {{template "dead_type" .}} AS type
		FROM {{if .ByID}}unnest(@ids::bigint[]) AS m (id) CROSS JOIN LATERAL (
			SELECT {{template "dead_columns" .}} FROM {{.Table}} AS o WHERE o.id = m.id OFFSET 0
		) AS o{{else}}{{.Table}} AS o{{end}}
		WHERE {{.Dead}} AND o.id > @after::bigint
		ORDER BY o.id LIMIT @rows::bigint
	) AS o
{{- end}}

{{- /* Those of a page that the filter takes and nobody has locked. One that has been
replayed meanwhile is no longer dead, and is left alone. */ -}}
{{define "dead_free"}}
page AS MATERIALIZED ({{template "dead_page" .}}
), wanted AS MATERIALIZED (
	SELECT id, message_id FROM page WHERE matches ORDER BY id LIMIT @most::bigint
), free AS MATERIALIZED (
	SELECT m.id, m.message_id FROM wanted AS m JOIN {{.Table}} AS o ON {{template "same_row"}}
	-- By its id, whatever else is asked of it: CASE hides that there is an index for that.
	WHERE CASE WHEN {{.Dead}} THEN true ELSE false END
	FOR UPDATE OF o SKIP LOCKED
)
{{- end}}

{{- /* What was done with a page. */ -}}
{{define "dead_done"}}
SELECT (SELECT count(*) FROM page) AS examined, (SELECT max(id) FROM page) AS cursor, (SELECT count(*) FROM wanted) AS wanted,
	(SELECT count(*) FROM changed) AS changed, (SELECT count(*) FROM told) AS told
{{- end}}

{{- /* A relay that reads the log does not see these changes there. */ -}}
{{define "dead_told"}}
told AS MATERIALIZED (
	SELECT pg_notify(@channel::text, '') FROM (SELECT FROM changed LIMIT 1) AS one
)
{{- end -}}
