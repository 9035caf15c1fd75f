-- The sequence of the ids, if the table owns one.
SELECT format('%I.%I', n.nspname, c.relname) AS name, q.seqcache AS cache, d.deptype = 'i' AS identity
FROM pg_depend AS d
JOIN pg_sequence AS q ON q.seqrelid = d.objid
JOIN pg_class AS c ON c.oid = q.seqrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid AND a.attname = 'id'
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = @table::oid
