{{- /* Parts of several statements. */ -}}

{{- /* A row's message id. One that is NULL, because somebody has dropped the constraint,
stands as zeros: so the row has a name, and can be declared dead. */ -}}
{{define "message_id"}}coalesce(o.message_id, '00000000-0000-0000-0000-000000000000'){{end}}

{{- /* A row, known as o, of a batch, known as m. */ -}}
{{define "same_row"}}{{template "same_id"}} AND {{template "message_id"}} = m.message_id{{end}}

{{- /* The look-up by id. With a plain = the planner also considers reading all of the primary
key, because a merge join could use its order, and comparing each row with the batch. It
chooses that where it believes that the table is small, or empty because its rows were counted
(ANALYZE, autovacuum) while the transaction that inserts them ran. A merge join cannot use
= ANY, so there is no such plan. */ -}}
{{define "same_id"}}o.id = ANY (ARRAY[m.id]){{end}}

{{- /* A row of a batch whose ids are close together. */ -}}
{{define "same_row_of_range"}}o.id >= @lowest::bigint AND o.id <= @highest::bigint
	AND {{template "message_id"}} = (@message_ids::uuid[])[(o.id - @lowest::bigint + 1)::integer]{{end}}

{{- /* A batch is looked up by id. IS TRUE keeps the planner from an index of sent_at that the
application may have made, and in which all unsent rows stand together. Other conditions on
the rows of a batch have it for the same reason. */ -}}
{{define "unsent"}}(o.sent_at IS NULL) IS TRUE{{end}}

{{- /* In which partitions the server need not look for the row. It leaves them out while
it executes the statement, by each row's created_at; and already while it plans it, by the
bounds of all of them. ALL keeps these conditions from choosing the index. */ -}}
{{define "in_partition"}}
	{{- if .ByTime}} AND o.created_at = ALL (ARRAY[m.created_at]){{end}}
	{{- template "between" .}}
{{- end}}
{{define "between"}}
	{{- if .Bounded}} AND o.id >= ALL (ARRAY[@lowest::bigint]) AND o.id <= ALL (ARRAY[@highest::bigint])
		{{- if .ByTime}} AND o.created_at >= ALL (ARRAY[@earliest::timestamptz]) AND o.created_at <= ALL (ARRAY[@latest::timestamptz]){{end}}
	{{- end}}
{{- end}}

{{- /* The column created_at of a batch, where it is of use. */ -}}
{{define "and_times"}}{{if .ByTime}}, @times::timestamptz[]{{end}}{{end}}
{{define "and_time"}}{{if .ByTime}}, created_at{{end}}{{end}}

{{- /* What a read session reads, and no more: a table may have columns of the application's
that the role may not see. */ -}}
{{define "columns"}}o.id, {{template "message_id"}} AS message_id, o.created_at, o.attempts, o.available_at, o.topic, o.key, o.content_type, o.headers, o.payload{{end}}

{{- /* Judged by the start of the pass; what is not due waits for its retry. */ -}}
{{define "is_due"}}(o.available_at IS NULL OR o.available_at <= @start::timestamptz){{end}}

{{- /* What stands for a row's key where keys are compared: relay.KeyName. */ -}}
{{define "key_name"}}CASE
	WHEN {{.KeyLength}} <= 64 OR {{.KeyLength}} = 71 AND o.key COLLATE "C" LIKE 'sha256:%' THEN o.key
	ELSE 'sha256:' || encode(sha256({{.KeyBytes}}), 'hex') END{{end}}

{{- /* Rows of a pass after a cursor, of the keys that are asked for. The collation is
the one by which the relay compares keys: bytes. A list of keys is hashed, and so no
slower for 20,000 than for one. */ -}}
{{define "asked_for"}}o.id >= @from::bigint AND o.id <= {{if .Fenced}}coalesce(fence.id, @bound::bigint){{else}}@bound::bigint{{end}}
		{{- if eq .Keys "except"}} AND (o.key IS NULL OR ({{template "key_name" .}}) COLLATE "C" NOT IN (SELECT unnest(@keys::text[]))){{end}}
		{{- if eq .Keys "only"}} AND ({{template "key_name" .}}) COLLATE "C" = @key::text{{end}}
		{{- if .Topics}} AND (o.key IS NOT NULL AND NOT @unordered::boolean OR NOT {{template "stays" .}}){{end}}
		{{- if .Block}} AND (o.key IS NULL OR ({{template "dead_before" .}}) IS NULL){{end}}{{end}}

{{- /* Whether a dead row with a lower id blocks the row's key. It is asked of each row, of
an index that has dead rows only, in the words of that index's condition. id + 0 keeps it
from being asked of an index of ids. */ -}}
{{define "dead_before"}}SELECT true FROM {{.Table}} AS d
			WHERE CASE WHEN d.sent_at IS NULL AND d.dead_at IS NOT NULL THEN d.key IS NOT NULL ELSE false END
				AND hashtextextended(d.key COLLATE "C", 0) = hashtextextended(o.key COLLATE "C", 0) AND d.key COLLATE "C" = o.key COLLATE "C"
				AND d.id + 0 < o.id
			LIMIT 1{{end}}

{{- /* Whether no more rows of the topic are wanted. Of those that have a key the names
are read nevertheless: the other rows of the key wait for them. */ -}}
{{define "stays"}}{{if .Topics}}coalesce(o.topic COLLATE "C" IN (SELECT unnest(@topics::text[])), false){{else}}false{{end}}{{end}}

{{- /* The first rows of a pass after a cursor. Of those that the application has
scheduled, the beginning of the pass has listed the ids. */ -}}
{{define "pass_rows"}}
	(SELECT {{template "columns"}}, o.xmin AS writer, o.last_error IS NOT NULL AS refused FROM {{.Table}} AS o
	WHERE {{.Due}} AND {{template "asked_for" .}}
	ORDER BY o.id LIMIT @rows::bigint)
{{- if .Scheduled}}
	UNION ALL
	(SELECT {{template "columns"}}, o.writer, o.refused
	FROM unnest(@scheduled::bigint[]) AS s (id)
	-- By its id, whatever else is asked of it: OFFSET 0 keeps the other conditions, for
	-- which there is an index too, out of here.
	CROSS JOIN LATERAL (
		SELECT {{template "columns"}}, o.sent_at, o.dead_at, o.xmin AS writer, o.last_error IS NOT NULL AS refused FROM {{.Table}} AS o WHERE o.id = s.id OFFSET 0
	) AS o
	WHERE {{.ScheduledRows}} AND o.available_at <= @start::timestamptz AND {{template "asked_for" .}})
{{- end}}
{{- end}}

{{- /* Where a statement that leaves keys out stops: after so many rows, whether they
are left out or not. Without a bound a million rows behind a head that waits would be
read by one statement. NULL where there are fewer. */ -}}
{{define "fence"}}
	SELECT (
		SELECT o.id FROM {{.Table}} AS o
		WHERE {{.Due}} AND o.id >= @from::bigint AND o.id <= @bound::bigint
		ORDER BY o.id OFFSET {{.Examined}} - 1 LIMIT 1
	) AS id OFFSET 0
{{- end}}

{{- /* The ids of rows that the application has scheduled and whose time has come: those
that have waited longest, in the order of their ids. It is a statement's part of its
own, in the order of their index: asked for by id, they would be looked for in all of
the table. */ -}}
{{define "due_scheduled"}}ARRAY(
		SELECT id FROM (
			SELECT id FROM {{.Table}} WHERE {{.ScheduledRows}} AND available_at <= statement_timestamp()
			ORDER BY available_at, id LIMIT @most::bigint
		) AS s ORDER BY id
	){{end -}}
