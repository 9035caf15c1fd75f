-- Counts the dead rows of a page by the kind of their error and their topic. A page
-- always answers at least once, with its cursor.
WITH page AS MATERIALIZED ({{template "dead_page" .}}
), wanted AS MATERIALIZED (
	SELECT * FROM page WHERE matches ORDER BY id LIMIT @most::bigint
), cursor AS (
	SELECT count(*) AS examined, max(id) AS cursor FROM page
), grouped AS (
	SELECT left(topic, {{.MaxText}}) AS topic, left(type, {{.MaxText}}) AS type, count(*) AS rows,
		min(dead_at) AS first, max(dead_at) AS last, left((array_agg(last_error ORDER BY id DESC))[1], {{.MaxText}}) AS error
	FROM wanted GROUP BY 1, 2
)
SELECT c.examined, c.cursor, g.topic, g.type AS error_type, coalesce(g.rows, 0) AS rows, g.first, g.last, g.error
FROM cursor AS c LEFT JOIN grouped AS g ON true
