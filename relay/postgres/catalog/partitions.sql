-- The partitions that a table is divided into, and the catch-all among them.
SELECT pg_get_partkeydef(p.partrelid) AS key,
	p.partstrat = 'r' AND p.partnatts = 1 AND a.attname IS NOT DISTINCT FROM 'created_at' AS by_time,
	p.partstrat = 'r' AND p.partnatts = 1 AND a.attname IS NOT DISTINCT FROM 'id' AS by_id,
	(SELECT count(*) FROM pg_partition_tree(p.partrelid) WHERE isleaf) AS partitions,
	(SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
		WHERE c.oid = p.partdefid) AS catch_all,
	coalesce((SELECT sum(pg_relation_size(relid)) > 0 FROM pg_partition_tree(nullif(p.partdefid, 0))), false) AS filled
FROM pg_partitioned_table AS p
LEFT JOIN pg_attribute AS a ON a.attrelid = p.partrelid AND a.attnum = p.partattrs[0]
WHERE p.partrelid = @table::oid
