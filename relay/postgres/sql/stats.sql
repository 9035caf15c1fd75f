-- Counts rows by kind, at most so many of each, and fewer of those that have to be read; sample.sql estimates the rest. indexed are the rows of the index of due
-- rows, which wait for a retry or are due. Scheduled rows whose time is reached are due
-- too, and are in the other index. An infinite time has no age.
WITH indexed AS (
	SELECT CASE WHEN isfinite(created_at) AND isfinite(coalesce(available_at, created_at)) THEN greatest(created_at, available_at) END AS since, attempts > 0 AS refused,
		available_at IS NULL OR available_at <= statement_timestamp() AS due
	FROM {{.Table}} WHERE {{.Due}} ORDER BY id LIMIT @read::bigint
), reached AS (
	SELECT CASE WHEN isfinite(created_at) AND isfinite(coalesce(available_at, created_at)) THEN greatest(created_at, available_at) END AS since
	FROM {{.Table}} WHERE {{.ScheduledRows}} AND available_at <= statement_timestamp() ORDER BY available_at LIMIT @read::bigint
), scheduled AS (
	SELECT FROM {{.Table}} WHERE {{.ScheduledRows}} AND available_at > statement_timestamp() ORDER BY available_at LIMIT @most::bigint
), dead AS (
	SELECT FROM {{.Table}} WHERE {{.Dead}} ORDER BY id LIMIT @most::bigint
)
SELECT
	coalesce((SELECT id FROM {{.Table}} WHERE {{.Due}} ORDER BY id LIMIT 1), 0) AS lowest,
	coalesce((SELECT id FROM {{.Table}} WHERE {{.Due}} ORDER BY id DESC LIMIT 1), 0) AS highest,
	(SELECT count(*) FROM indexed) AS indexed,
	(SELECT count(*) FROM indexed WHERE due) AS due,
	(SELECT count(*) FROM indexed WHERE refused) AS refused,
	(SELECT count(*) FROM reached) AS reached,
	(SELECT count(*) FROM scheduled) AS scheduled,
	(SELECT count(*) FROM dead) AS dead,
	coalesce(extract(epoch FROM statement_timestamp()
		- least((SELECT min(since) FROM indexed WHERE due), (SELECT min(since) FROM reached))) * 1000000, 0)::bigint AS oldest
