-- The partition with the latest end. It has none where the partitions go on for ever, be it to
-- MAXVALUE or to 'infinity', which Go's times do not have.
SELECT CASE WHEN isfinite(begins) THEN begins END AS begins, CASE WHEN isfinite(ends) THEN ends END AS ends, now() AS now
FROM (
	SELECT substring(bound FROM $$FROM \('([^']*)'\)$$)::timestamptz AS begins, substring(bound FROM $$ TO \('([^']*)'\)$$)::timestamptz AS ends
	FROM (
		SELECT pg_get_expr(c.relpartbound, c.oid) AS bound FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
		WHERE i.inhparent = @table::oid OFFSET 0
	) AS b
	WHERE bound <> 'DEFAULT'
) AS p
ORDER BY p.ends DESC NULLS FIRST LIMIT 1
