{{- /* Parts of several statements. */ -}}

{{- /* Whether every replication connection, this one included, counts as a synchronous
standby: see synchronous.go. */ -}}
{{define "passes_for_standby"}}pg_catalog.current_setting('synchronous_standby_names') ~ '(^|[\s(,"])[*]($|[\s),"])'{{end}}
