{{- /* Parts of several statements. */ -}}

{{- /* A row's message id. One that is NULL, because somebody has dropped the constraint,
stands as zeros: so the row has a name, and can be declared dead. */ -}}
{{define "message_id"}}coalesce(o.message_id, '00000000-0000-0000-0000-000000000000'){{end}}

{{- /* A row, known as o, of a batch, known as m. */ -}}
{{define "same_row"}}o.id = m.id AND {{template "message_id"}} = m.message_id{{end}}

{{- /* What a sweep reads, and no more: a table may have columns of the application's
that the role may not see. */ -}}
{{define "columns"}}o.id, {{template "message_id"}} AS message_id, o.created_at, o.attempts, o.available_at, o.topic, o.key, o.content_type, o.headers, o.payload{{end}}

{{- /* Judged by the start of the pass; what is not due waits for its retry. */ -}}
{{define "is_due"}}(o.available_at IS NULL OR o.available_at <= @start::timestamptz){{end}}

{{- /* What stands for a row's key where keys are compared: relay.KeyName. */ -}}
{{define "key_name"}}CASE
	WHEN {{.KeyLength}} <= 64 OR {{.KeyLength}} = 71 AND o.key COLLATE "C" LIKE 'sha256:%' THEN o.key
	ELSE 'sha256:' || encode(sha256({{.KeyBytes}}), 'hex') END{{end}}

{{- /* The rows of a pass after a cursor, of the keys that are asked for. The collation
is the one by which the relay compares keys: bytes. A list of keys is hashed, and so
no slower for 20,000 than for one. */ -}}
{{define "next_rows"}}
	SELECT {{template "columns"}}, o.xmin AS writer FROM {{.Table}} AS o
	WHERE o.id > @after::bigint AND o.id <= @bound::bigint
		{{- if eq .Keys "except"}} AND (o.key IS NULL OR ({{template "key_name" .}}) COLLATE "C" NOT IN (SELECT unnest(@keys::text[]))){{end}}
		{{- if eq .Keys "only"}} AND ({{template "key_name" .}}) COLLATE "C" = @key::text{{end}}
{{- end}}

{{- /* The first rows of a pass after a cursor. Those that the application has scheduled
are in another index, and are looked for only where some are due. */ -}}
{{define "pass_rows"}}
	({{template "next_rows" .}} AND {{.Due}} ORDER BY o.id LIMIT @rows::bigint)
{{- if .Scheduled}}
	UNION ALL
	({{template "next_rows" .}} AND {{.ScheduledRows}} AND o.available_at <= @start::timestamptz ORDER BY o.id LIMIT @rows::bigint)
{{- end}}
{{- end -}}
