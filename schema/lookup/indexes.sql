-- The indexes of the table and its partitions, and what they are parts of.
SELECT i.indexrelid AS oid, i.indrelid AS of, coalesce(h.inhparent, 0) AS parent, c.relname::text AS name, i.indisvalid AS valid
FROM (SELECT to_regclass(@table::text) UNION SELECT relid FROM pg_partition_tree(to_regclass(@table::text))) AS t (relid)
JOIN pg_index AS i ON i.indrelid = t.relid JOIN pg_class AS c ON c.oid = i.indexrelid
LEFT JOIN pg_inherits AS h ON h.inhrelid = i.indexrelid
