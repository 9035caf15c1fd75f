-- Takes back what the migration of outbox-relay has made. Printed by
-- "outbox-relay schema --uninstall". Stop the relays first.
--
-- One transaction. It waits for no lock longer than half a second: "canceling statement due
-- to lock timeout" means that nothing was changed, so run it again.
BEGIN;

SET LOCAL client_encoding = 'UTF8';
SET LOCAL standard_conforming_strings = on;
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL statement_timeout = 0;
SET LOCAL lock_timeout = '500ms';

DO $outbox$
DECLARE
  tab    oid := to_regclass({{table_text}});
  others bigint; -- tables of the publication that are not this one
  f      record;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('outbox-relay migrate', 0));
  IF tab IS NULL THEN
    RAISE EXCEPTION 'there is no table %', {{table_text}}
      USING ERRCODE = 'undefined_table', HINT = 'Set OUTBOX_TABLE to the name of the outbox table.';
  END IF;
  IF EXISTS (SELECT FROM pg_stat_activity WHERE starts_with(application_name, left({{relays}}, 63)) AND datname = current_database() AND pid <> pg_backend_pid()) THEN
    RAISE EXCEPTION 'a relay of table % is connected', {{table_text}}
      USING ERRCODE = 'object_in_use', HINT = 'Stop all relays of this table, and run this again.';
  END IF;

  IF EXISTS (SELECT FROM pg_publication_tables WHERE pubname = {{publication_name}} AND schemaname = {{schema_name}} AND tablename = {{table_name}}) THEN
    SELECT count(*) INTO others FROM pg_publication_tables
      WHERE pubname = {{publication_name}} AND (schemaname, tablename) <> ({{schema_name}}::name, {{table_name}}::name);
    IF (SELECT puballtables FROM pg_publication WHERE pubname = {{publication_name}}) THEN
      RAISE NOTICE 'publication % is for all tables, and stays', {{publication_text}};
    ELSIF others > 0 THEN
      ALTER PUBLICATION {{publication}} DROP TABLE {{table}};
      RAISE NOTICE 'took % out of publication %, which is for other tables too', {{table_text}}, {{publication_text}};
    ELSE
      DROP PUBLICATION {{publication}};
      RAISE NOTICE 'dropped publication %', {{publication_text}};
    END IF;
  END IF;

  DROP TRIGGER IF EXISTS {{guard}} ON {{table}};
  DROP TRIGGER IF EXISTS {{dead_guard}} ON {{table}};
  DROP TRIGGER IF EXISTS {{truncate_guard}} ON {{table}};
  FOR f IN
    SELECT call::text, to_regprocedure(call::text) AS oid
    FROM unnest(ARRAY[{{guard_call}}, {{replay_call}}, {{discard_call}}, {{send_call}}, {{drop_partitions_call}}]) AS calls (call)
  LOOP
    CONTINUE WHEN f.oid IS NULL;
    IF (SELECT prosrc FROM pg_proc WHERE oid = f.oid) NOT LIKE '%outbox-relay%' THEN
      RAISE NOTICE 'the function % is not of outbox-relay, and stays', f.call;
      CONTINUE;
    END IF;
    EXECUTE format('DROP FUNCTION %s', f.oid::regprocedure);
    RAISE NOTICE 'dropped function %', f.call;
  END LOOP;
  DROP TABLE IF EXISTS {{note}};
  {{rest}}
END $outbox$;

COMMIT;
