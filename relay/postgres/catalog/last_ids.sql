-- The partition with the highest ids. It has no end where the partitions go on for ever, and no
-- beginning where they begin with the lowest.
SELECT substring(bound FROM $$FROM \('([^']*)'\)$$)::bigint AS begins, substring(bound FROM $$ TO \('([^']*)'\)$$)::bigint AS ends
FROM (
	SELECT pg_get_expr(c.relpartbound, c.oid) AS bound FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
	WHERE i.inhparent = @table::oid OFFSET 0
) AS b
WHERE bound <> 'DEFAULT'
ORDER BY ends DESC NULLS FIRST LIMIT 1
