-- The table's columns. Of a domain it is the base type that the wire carries, and a
-- domain may be of another domain, each with a NOT NULL of its own. A constraint that is
-- not valid promises nothing of the rows that are there.
SELECT a.attname::text AS name, format_type(base.oid, NULL) AS type,
	a.attnotnull AND NOT EXISTS (
		SELECT FROM pg_constraint AS n
		WHERE n.conrelid = a.attrelid AND n.contype = 'n' AND NOT n.convalidated AND a.attnum = ANY (n.conkey)
	) OR base.filled AS not_null,
	has_column_privilege(a.attrelid, a.attnum, 'SELECT') AS can_select,
	has_column_privilege(a.attrelid, a.attnum, 'UPDATE') AS can_update
FROM pg_attribute AS a
CROSS JOIN LATERAL (
	WITH RECURSIVE types (oid, filled) AS (
		SELECT oid, typnotnull FROM pg_type WHERE oid = a.atttypid
		UNION ALL
		SELECT b.oid, types.filled OR b.typnotnull
		FROM types JOIN pg_type AS d ON d.oid = types.oid JOIN pg_type AS b ON b.oid = d.typbasetype
	)
	SELECT types.oid, types.filled FROM types JOIN pg_type AS t ON t.oid = types.oid WHERE t.typbasetype = 0 OR t.typtype <> 'd'
) AS base
WHERE a.attrelid = @table::oid AND a.attnum > 0 AND NOT a.attisdropped
