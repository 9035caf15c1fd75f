-- Counts rows by kind, at most so many of each. The first branch is the index of what
-- is due or is being retried; rows that were scheduled and whose time has come are due
-- too, and in the other index.
WITH head AS (
	SELECT greatest(created_at, available_at) AS since, attempts > 0 AS refused,
		available_at IS NULL OR available_at <= statement_timestamp() AS due
	FROM {{.Table}} WHERE {{.Due}} ORDER BY id LIMIT @most::bigint
), come AS (
	SELECT greatest(created_at, available_at) AS since
	FROM {{.Table}} WHERE {{.ScheduledRows}} AND available_at <= statement_timestamp() ORDER BY available_at LIMIT @most::bigint
), planned AS (
	SELECT FROM {{.Table}} WHERE {{.ScheduledRows}} AND available_at > statement_timestamp() ORDER BY available_at LIMIT @most::bigint
), buried AS (
	SELECT FROM {{.Table}} WHERE {{.Dead}} ORDER BY id LIMIT @most::bigint
)
SELECT
	(SELECT count(*) FROM head) AS head,
	(SELECT count(*) FROM head WHERE due) AS due,
	(SELECT count(*) FROM head WHERE refused) AS refused,
	(SELECT count(*) FROM come) AS come,
	(SELECT count(*) FROM planned) AS planned,
	(SELECT count(*) FROM buried) AS buried,
	coalesce(extract(epoch FROM statement_timestamp()
		- least((SELECT min(since) FROM head WHERE due), (SELECT min(since) FROM come))) * 1000000, 0)::bigint AS oldest
