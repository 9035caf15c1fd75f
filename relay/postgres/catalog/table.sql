-- The table as such, and what the role may do with it. Only tables have an xmin.
SELECT c.oid, c.relkind IN ('r', 'p') AS is_table, current_user::text AS role,
	has_schema_privilege(n.oid, 'USAGE') AS usable,
	has_table_privilege(c.oid, 'DELETE') AS deletable,
	row_security_active(c.oid) AS row_security,
	CASE WHEN c.relkind IN ('r', 'p') THEN has_column_privilege(c.oid, 'xmin', 'SELECT') ELSE false END AS writers,
	EXISTS (
		SELECT FROM pg_class AS note WHERE note.relnamespace = n.oid AND note.relname = @note AND note.relkind = 'r'
			AND NOT has_table_privilege(note.oid, 'SELECT')
	) AS note_hidden
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = @schema AND c.relname = @table
