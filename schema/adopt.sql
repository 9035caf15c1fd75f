-- Notes that the table belongs to this database and environment, whatever was noted
-- before. Run by "outbox-relay adopt".
BEGIN;

SET LOCAL client_encoding = 'UTF8';
SET LOCAL standard_conforming_strings = on;
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL lock_timeout = '500ms';

DO $outbox$
DECLARE
  note  oid := to_regclass({{note_text}});
  owner name := (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = note);
  here  text;
BEGIN
  -- Two at once, or a migration, would each make a row.
  PERFORM pg_advisory_xact_lock(hashtextextended('outbox-relay migrate', 0));
  IF note IS NULL THEN
    RAISE EXCEPTION 'nothing is noted beside table %', {{table_text}}
      USING ERRCODE = 'undefined_table', HINT = 'Run the migration, which notes where the table belongs: outbox-relay migrate';
  END IF;
  IF NOT pg_has_role(owner, 'USAGE') THEN
    RAISE EXCEPTION '% may not say where table % belongs: only % may, who owns the note', quote_ident(current_user), {{table_text}}, quote_ident(owner)
      USING ERRCODE = 'insufficient_privilege', HINT = 'Set OUTBOX_DATABASE_URL to the owner or to a superuser.';
  END IF;
  BEGIN
    here := (SELECT system_identifier FROM pg_control_system());
  EXCEPTION WHEN insufficient_privilege OR feature_not_supported OR undefined_function THEN
    NULL;
  END;
  -- A pause is another matter than where the table belongs: it ends by "outbox-relay resume".
  UPDATE {{note}} AS n SET paused_at = p.paused_at, paused_by = p.paused_by, pause_reason = p.pause_reason
  FROM (SELECT paused_at, paused_by, pause_reason FROM {{note}} WHERE paused_at IS NOT NULL ORDER BY paused_at LIMIT 1) AS p
  WHERE n.paused_at IS NULL;
  DELETE FROM {{note}} WHERE noted_at < (SELECT max(noted_at) FROM {{note}});
  UPDATE {{note}} SET noted_at = clock_timestamp(), noted_by = session_user,
    system_identifier = here, database = current_database(), environment = nullif({{environment}}, '');
  IF NOT FOUND THEN
    INSERT INTO {{note}} (system_identifier, database, environment) VALUES (here, current_database(), nullif({{environment}}, ''));
  END IF;
END $outbox$;

COMMIT;
