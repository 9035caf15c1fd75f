-- The role of outbox-relay: what the relay needs and no more. Printed by
-- "outbox-relay schema --role NAME", run by "outbox-relay migrate --role NAME".
-- It may be run again at any time and revokes nothing. It sets no password: do that
-- with \password in psql, or log in without one (pg_hba.conf, certificates).
BEGIN;

SET LOCAL client_encoding = 'UTF8';
SET LOCAL standard_conforming_strings = on;
SET LOCAL quote_all_identifiers = off;
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL lock_timeout = '500ms';

DO $outbox$
DECLARE
  relay pg_roles;
  tab   oid := to_regclass({{table_text}});
BEGIN
  IF tab IS NULL THEN
    RAISE EXCEPTION 'table % does not exist', {{table_text}}
      USING ERRCODE = 'undefined_table', HINT = 'Run the migration first: outbox-relay migrate';
  END IF;
  SELECT * INTO relay FROM pg_roles WHERE rolname = {{role_name}};
  IF relay.rolname IS NULL THEN
    IF NOT (SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user) THEN
      RAISE EXCEPTION 'role % does not exist and % may not create it', {{role_text}}, quote_ident(current_user)
        USING ERRCODE = 'insufficient_privilege',
          HINT = format('As a superuser run: CREATE ROLE %I LOGIN REPLICATION', {{role_name}});
    END IF;
    CREATE ROLE {{role}} LOGIN;
    SELECT * INTO relay FROM pg_roles WHERE rolname = {{role_name}};
    RAISE NOTICE 'created role %', {{role_text}};
  END IF;

  -- For the tail, which reads the write-ahead log. A relay without it polls.
  IF NOT (relay.rolreplication OR relay.rolsuper OR EXISTS (
      SELECT FROM pg_roles cloud WHERE cloud.rolname = 'rds_replication'
        AND pg_has_role(relay.oid, cloud.oid, 'MEMBER'))) THEN
    BEGIN
      ALTER ROLE {{role}} REPLICATION;
      RAISE NOTICE 'gave role % the attribute REPLICATION', {{role_text}};
    EXCEPTION WHEN insufficient_privilege THEN
      RAISE WARNING 'role % may not read the write-ahead log: the relay will poll', {{role_text}}
        USING HINT = format('As a superuser run: ALTER ROLE %1$I REPLICATION (Amazon RDS: GRANT rds_replication TO %1$I)',
          {{role_name}});
    END;
  END IF;

  -- The relay switches row security off: an error beats rows that it cannot see.
  IF (SELECT relrowsecurity FROM pg_class WHERE oid = tab)
      AND NOT (relay.rolbypassrls OR relay.rolsuper) THEN
    RAISE WARNING 'table % has row-level security, which role % does not bypass', {{table_text}}, {{role_text}}
      USING HINT = format('As a superuser run: ALTER ROLE %I BYPASSRLS', {{role_name}});
  END IF;

  -- PUBLIC may often do these; where it may not, the relay needs them of its own.
  IF NOT has_database_privilege({{role_name}}, current_database(), 'CONNECT') THEN
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), {{role_name}});
  END IF;
  IF NOT has_schema_privilege({{role_name}}, {{schema_name}}, 'USAGE') THEN
    GRANT USAGE ON SCHEMA {{schema}} TO {{role}};
  END IF;

  -- What the relay writes; never a topic, a key or a payload.
  IF NOT has_table_privilege({{role_name}}, tab, 'SELECT') OR EXISTS (
      SELECT FROM unnest('{sent_at,attempts,first_attempt_at,last_error,error_type,available_at,dead_at,dead_letter_at}'::text[]) AS c
      WHERE NOT has_column_privilege({{role_name}}, tab, c, 'UPDATE')) THEN
    GRANT SELECT, UPDATE (sent_at, attempts, first_attempt_at, last_error, error_type, available_at, dead_at, dead_letter_at)
      ON {{table}} TO {{role}};
    RAISE NOTICE 'granted role % what it needs on %', {{role_text}}, {{table_text}};
  END IF;
  -- Where the table belongs: to read it, and no more. This role must not be able to say
  -- that a copy is the original. It may pause and resume, since it may mark any row anyway.
  IF NOT has_table_privilege({{role_name}}, to_regclass({{note_text}}), 'SELECT') OR EXISTS (
      SELECT FROM unnest('{paused_at,paused_by,pause_reason}'::text[]) AS c
      WHERE NOT has_column_privilege({{role_name}}, to_regclass({{note_text}}), c, 'UPDATE')) THEN
    GRANT SELECT, UPDATE (paused_at, paused_by, pause_reason) ON {{note}} TO {{role}};
    RAISE NOTICE 'granted role % to read %, and to pause', {{role_text}}, {{note_text}};
  END IF;
  -- Only where sent rows are deleted.
  IF {{delete}} AND NOT has_table_privilege({{role_name}}, tab, 'DELETE') THEN
    GRANT DELETE ON {{table}} TO {{role}};
    RAISE NOTICE 'granted role % to delete from %', {{role_text}}, {{table_text}};
  END IF;
END $outbox$;

COMMIT;
