-- The base types of the domains among the table's columns: the log names a domain by its
-- oid alone. A domain may be of another domain.
WITH RECURSIVE bases (domain, base) AS (
	SELECT t.oid, t.typbasetype
	FROM pg_catalog.pg_attribute AS a
	JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
	JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
	JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
	WHERE n.nspname = @schema AND c.relname = @table AND t.typtype = 'd'
	UNION
	SELECT b.domain, t.typbasetype FROM bases AS b JOIN pg_catalog.pg_type AS t ON t.oid = b.base AND t.typtype = 'd'
)
SELECT domain, base FROM bases JOIN pg_catalog.pg_type AS t ON t.oid = base AND t.typtype <> 'd'
