-- Pauses the table. Who pauses it again changes the reason.
UPDATE {{.Note}} SET paused_at = coalesce(paused_at, now()), paused_by = session_user || ' from ' || @host::text, pause_reason = nullif(@reason::text, '')
RETURNING paused_at AS since, paused_by AS by, coalesce(pause_reason, '') AS reason
