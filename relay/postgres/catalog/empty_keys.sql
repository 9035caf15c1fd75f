-- How many pending rows have the empty key.
SELECT count(*) AS rows FROM ({{template "pending_sample" .}}) AS pending WHERE key = ''
