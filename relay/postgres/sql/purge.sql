-- Deletes the rows among the next ones, in the order of their ids, that were sent before a
-- time. A row that somebody has locked is left for later. What is deleted is judged again by
-- itself: in a partitioned table two rows may have one id. It is looked for in its own
-- partition only. The rows that were looked at are read from the primary key, whatever the
-- statistics say.
WITH run AS MATERIALIZED (
	SELECT max(id) AS last, count(*) AS seen, (array_agg(created_at ORDER BY id DESC))[1] AS newest,
		statement_timestamp() - @age::bigint * interval '1 microsecond' AS before
	FROM (SELECT id, created_at FROM {{.Table}} WHERE id >= @from::bigint ORDER BY id LIMIT @rows::bigint) AS r
), old AS MATERIALIZED (
	SELECT o.id{{if .ByTime}}, o.created_at{{end}} FROM {{.Table}} AS o
	WHERE o.id >= @from::bigint AND o.id <= (SELECT last FROM run) AND o.sent_at < (SELECT before FROM run)
	ORDER BY o.id LIMIT @rows::bigint FOR UPDATE SKIP LOCKED
), gone AS (
	DELETE FROM {{.Table}} AS o USING old AS m WHERE {{template "same_id"}}{{template "in_partition" .}} AND (o.sent_at < (SELECT before FROM run)) IS TRUE RETURNING o.id
)
SELECT seen, last, (SELECT count(*) FROM gone) AS purged, newest >= before AS young,
	-- Of the statement's snapshot, in which the deleted rows still are.
	(SELECT o.id FROM {{.Table}} AS o WHERE o.id >= @from::bigint AND o.id <= run.last
		AND (o.sent_at IS NULL OR o.sent_at >= run.before OR o.id NOT IN (SELECT id FROM gone)) ORDER BY o.id LIMIT 1) AS remains
FROM run
