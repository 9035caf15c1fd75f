-- The table and its partitions, each after the one that it belongs to.
SELECT c.oid, coalesce(t.parentrelid::oid, 0) AS parent, n.nspname::text AS schema, c.relname::text AS name, c.relkind = 'p' AS divided
FROM (
	SELECT to_regclass(@table::text) AS relid, NULL::regclass AS parentrelid, 0 AS level
	UNION ALL SELECT relid, parentrelid, level FROM pg_partition_tree(to_regclass(@table::text)) WHERE level > 0
) AS t JOIN pg_class AS c ON c.oid = t.relid JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p')
ORDER BY t.level, n.nspname, c.relname
