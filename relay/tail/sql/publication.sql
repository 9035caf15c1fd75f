-- What the publication sends of the table. Filters and column lists came with PostgreSQL
-- 15; to_jsonb reads them where there are any. Of a partitioned table the view lists the
-- partitions, unless the publication sends their rows as the table's own.
SELECT p.pubinsert AS inserts, v.tablename IS NOT NULL AS covers,
	pg_catalog.to_jsonb(v)->>'rowfilter' IS NOT NULL AS filters,
	coalesce(NOT pg_catalog.to_jsonb(v)->'attnames' ?& @columns::text[], false) AS lacks,
	coalesce((
		SELECT c.relkind = 'p' AND NOT p.pubviaroot
		FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
		WHERE n.nspname = @schema AND c.relname = @table
	), false) AS splits
FROM pg_catalog.pg_publication AS p
LEFT JOIN pg_catalog.pg_publication_tables AS v ON v.pubname = p.pubname AND v.schemaname = @schema AND v.tablename = @table
WHERE p.pubname = @publication
