SELECT c.relname::text AS name, i.indisvalid AS valid, c.relkind = 'I' AS divided,
	i.indpred IS NULL AND EXISTS (
		SELECT FROM pg_attribute AS a WHERE a.attrelid = i.indrelid AND a.attnum = i.indkey[0] AND a.attname = 'id'
	) AS by_id
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE i.indrelid = @table::oid
