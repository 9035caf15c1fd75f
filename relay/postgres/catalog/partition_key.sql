-- The columns by which a table is divided into partitions, and these into further ones.
-- NULL is an expression. A table that is not divided has none.
WITH RECURSIVE divided (oid) AS (
	SELECT to_regclass(@table::text)::oid AS oid
	UNION ALL
	SELECT c.oid FROM divided AS d JOIN pg_inherits AS i ON i.inhparent = d.oid
	JOIN pg_class AS c ON c.oid = i.inhrelid AND c.relkind = 'p'
)
SELECT DISTINCT a.attname::text AS name
FROM divided AS d JOIN pg_partitioned_table AS p ON p.partrelid = d.oid
CROSS JOIN unnest(p.partattrs::smallint[]) AS key (number)
LEFT JOIN pg_attribute AS a ON a.attrelid = p.partrelid AND a.attnum = key.number
