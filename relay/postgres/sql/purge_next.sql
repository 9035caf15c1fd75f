-- The next row, which the purge cannot delete and goes by.
SELECT id FROM {{.Table}} WHERE id >= @from::bigint ORDER BY id LIMIT 1
