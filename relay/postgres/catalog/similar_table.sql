-- A table whose name differs in case alone, the one in the same schema first.
SELECT n.nspname::text AS schema, c.relname::text AS name
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE lower(c.relname) = lower(@table) AND c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_'
ORDER BY lower(n.nspname) <> lower(@schema), n.nspname, c.relname LIMIT 1
