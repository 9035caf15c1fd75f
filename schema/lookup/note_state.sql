-- Whether the table has a note that is ours.
SELECT count(*) = 8 AS noted FROM pg_attribute
WHERE attrelid = to_regclass(@note::text) AND NOT attisdropped AND attname IN ('noted_at', 'noted_by', 'system_identifier', 'database', 'environment', 'paused_at', 'paused_by', 'pause_reason')
