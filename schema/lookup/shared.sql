{{- /* A session that is in the way, known as a, in words. */ -}}
{{define "session"}}format('%s (%s, in a transaction for %s s)', coalesce('session ' || a.pid, 'a prepared transaction'),
	coalesce(nullif(a.application_name, ''), 'no application_name'),
	coalesce(extract(epoch FROM now() - min(a.xact_start))::bigint, 0)){{end -}}
