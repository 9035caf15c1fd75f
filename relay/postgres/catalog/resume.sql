-- Ends the pause, and says what it was. The one row of a pause that is over is not changed.
WITH before AS (SELECT noted_at, paused_at, paused_by, pause_reason FROM {{.Note}} WHERE paused_at IS NOT NULL)
UPDATE {{.Note}} AS n SET paused_at = NULL, paused_by = NULL, pause_reason = NULL
FROM before WHERE n.noted_at = before.noted_at
RETURNING before.paused_at AS since, coalesce(before.paused_by, '') AS by, coalesce(before.pause_reason, '') AS reason
