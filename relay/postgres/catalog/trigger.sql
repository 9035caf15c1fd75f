-- Whether a trigger fires in ordinary sessions.
SELECT tgenabled IN ('O', 'A') AS enabled FROM pg_trigger WHERE tgrelid = @table::oid AND tgname = @trigger
