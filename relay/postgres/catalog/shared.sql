{{- /* Parts of several look-ups. */ -}}

{{- /* Whether a lock of pg_locks, known as l, is the advisory lock that the parameters name,
granted to somebody in this database. */ -}}
{{define "is_held"}}l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
	AND l.classid = @lock_high::bigint::oid AND l.objid = @lock_low::bigint::oid
	AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()){{end}}

{{- /* When this life of the server began, in microseconds since 1970. */ -}}
{{define "server_started"}}(extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint{{end}}

{{- /* The database's name, and the port that the server itself listens on. */ -}}
{{define "server_address"}}current_database() || ':' || current_setting('port'){{end}}

{{- /* A column of so many pending rows, from both of their indexes. */ -}}
{{define "pending_sample"}}(SELECT {{.Column}} FROM {{.Table}} WHERE {{.Due}} ORDER BY id LIMIT @most::bigint)
	UNION ALL
	(SELECT {{.Column}} FROM {{.Table}} WHERE {{.Scheduled}} ORDER BY available_at LIMIT @most::bigint){{end}}
