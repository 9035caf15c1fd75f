#variable_conflict use_variable
-- outbox-relay: made by its migration
DECLARE
  tab     oid := to_regclass(%1$L);
  owner   name := (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = tab);
  before  timestamptz := statement_timestamp() - older_than;
  divider text := (SELECT a.attname FROM pg_partitioned_table p JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = p.partattrs[0]
    WHERE p.partrelid = tab AND p.partstrat = 'r' AND p.partnatts = 1);
  rest    text := (SELECT format('%%I.%%I', n.nspname, c.relname) FROM pg_partitioned_table p
    JOIN pg_class c ON c.oid = p.partdefid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE p.partrelid = tab); -- the catch-all
  given   bigint; -- the last id
  others  text;
  part    text;
  found   oid;
  parts   text[] := '{}';
  oids    oid[] := '{}'; -- of the parts
  free    integer[]; -- the places in parts of those that nobody vacuums or alters
  since   timestamptz; -- when the lock was there
  keeps   boolean;
BEGIN
  IF NOT pg_has_role(owner, 'USAGE') THEN
    RAISE EXCEPTION 'only %%, who owns table %%, may drop its partitions', quote_ident(owner), %1$L USING ERRCODE = 'insufficient_privilege';
  ELSIF older_than IS NULL OR older_than < '0' THEN
    RAISE EXCEPTION 'an age of %% is none: partitions are dropped whose rows were all sent longer ago', coalesce(older_than::text, 'NULL')
      USING ERRCODE = 'invalid_parameter_value';
  ELSIF current_setting('transaction_isolation') <> 'read committed' THEN
    -- The snapshot would be older than the lock, and not have what came in before it.
    RAISE EXCEPTION 'no partition is dropped in a transaction that is %%', upper(current_setting('transaction_isolation'))
      USING ERRCODE = 'invalid_transaction_state', HINT = 'Begin it with: BEGIN ISOLATION LEVEL READ COMMITTED';
  ELSIF (SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
      WHERE i.indrelid = tab AND i.indisvalid AND c.relname = ANY (%2$L::name[])) < 3 THEN
    RAISE EXCEPTION 'table %% lacks indexes, without which the application would wait', %1$L
      USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Run: outbox-relay migrate';
  END IF;
  SELECT string_agg(DISTINCT conrelid::regclass::text, ', ') INTO others FROM pg_constraint
    WHERE contype = 'f' AND (confrelid = tab OR confrelid IN (SELECT relid FROM pg_partition_tree(tab)));
  IF others IS NOT NULL THEN
    RAISE EXCEPTION 'a foreign key of %% references table %%: no partition is dropped', others, %1$L
      USING ERRCODE = 'dependent_objects_still_exist';
  END IF;
  -- Which partitions get no more rows. Who takes an id from the sequence does it in an INSERT,
  -- and so is awaited below. But a session that caches ids inserts them later.
  IF divider = 'id' THEN
    SELECT seqrelid::regclass::text INTO others FROM pg_sequence
      WHERE seqrelid = to_regclass(pg_get_serial_sequence(%1$L, 'id')) AND seqcache > 1;
    IF others IS NOT NULL THEN
      RAISE EXCEPTION 'sessions cache ids of sequence %%: nothing says which partitions get no more rows', others
        USING ERRCODE = 'object_not_in_prerequisite_state', HINT = format('Set CACHE 1 for %%s, and let all sessions connect anew.', others);
    END IF;
    given := (SELECT pg_sequence_last_value(seqrelid) FROM pg_sequence
      WHERE seqrelid = to_regclass(pg_get_serial_sequence(%1$L, 'id')) AND seqincrement > 0 AND NOT seqcycle);
  ELSIF divider IS DISTINCT FROM 'created_at' THEN
    RAISE EXCEPTION 'table %% is not divided by ranges of created_at or of id: nothing says which partitions get no more rows', %1$L
      USING ERRCODE = 'wrong_object_type';
  END IF;

  -- Look, before any lock. The catch-all has no end, and is not among them; neither is what
  -- is on another server.
  FOR part, found IN
    SELECT format('%%I.%%I', n.nspname, c.relname), c.oid
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_namespace n ON n.oid = c.relnamespace,
      substring(pg_get_expr(c.relpartbound, c.oid) FROM $re$ TO \('([^']*)'\)$re$) AS ends
    WHERE i.inhparent = tab AND NOT i.inhdetachpending
      AND CASE divider WHEN 'id' THEN ends::bigint <= given ELSE ends::timestamptz <= before END
      AND NOT EXISTS (SELECT FROM pg_partition_tree(c.oid) t JOIN pg_class l ON l.oid = t.relid WHERE l.relkind NOT IN ('r', 'p'))
    ORDER BY CASE WHEN divider = 'id' THEN ends::bigint END, CASE WHEN divider <> 'id' THEN ends::timestamptz END
  LOOP
    BEGIN
      EXECUTE format('SELECT EXISTS (SELECT FROM %%s WHERE (sent_at < $1) IS NOT TRUE)', part) INTO keeps USING before;
      RAISE SQLSTATE 'OR000'; -- takes back the lock that reading takes: an ALTER TABLE would wait for it, and all INSERTs for that
    EXCEPTION
      WHEN SQLSTATE 'OR000' THEN NULL;
      WHEN undefined_table THEN CONTINUE;
    END;
    IF keeps THEN
      RAISE NOTICE 'partition %% stays: not all of its rows were sent before %%', part, before;
      CONTINUE;
    END IF;
    parts := parts || part;
    oids := oids || found;
    EXIT WHEN cardinality(parts) = 16; -- no more than what can be dropped at once
  END LOOP;
  IF parts = '{}' THEN
    RETURN;
  END IF;

  -- Lock. A try that fails leaves no lock behind.
  FOR try IN 1 .. 6 LOOP
    BEGIN
      -- An autovacuum gives way to this, which takes it deadlock_timeout. The application does
      -- not wait for it.
      PERFORM set_config('lock_timeout', (setting::integer * 3 / 2)::text, true) FROM pg_settings WHERE name = 'deadlock_timeout';
      free := '{}';
      FOR i IN 1 .. cardinality(parts) LOOP
        BEGIN
          EXECUTE format('LOCK TABLE %%s IN SHARE UPDATE EXCLUSIVE MODE', parts[i]);
          free := free || i;
        EXCEPTION WHEN lock_not_available OR undefined_table THEN
          RAISE WARNING 'partition %% stays: %%', parts[i], SQLERRM;
        END;
      END LOOP;
      IF free = '{}' THEN
        RETURN; -- for nothing, no INSERT shall wait
      END IF;
      IF rest IS NOT NULL THEN
        EXECUTE format('LOCK TABLE %%s IN SHARE UPDATE EXCLUSIVE MODE', rest); -- DROP TABLE locks it too
      END IF;
      -- Behind this wait all INSERTs of the application; so it is waited for a moment only, and
      -- nothing that comes after it waits. Who has inserted a row uses the table until the
      -- transaction ends, and so is awaited.
      PERFORM set_config('lock_timeout', '400ms', true);
      LOCK TABLE ONLY %1$s IN ACCESS EXCLUSIVE MODE;
      EXIT;
    EXCEPTION WHEN lock_not_available THEN
      SELECT string_agg(DISTINCT pid::text, ', ') INTO others FROM pg_locks WHERE relation = tab AND granted AND pid <> pg_backend_pid();
      IF try = 6 THEN
        RAISE EXCEPTION 'table %% was in use all the time: no partition is dropped', %1$L USING ERRCODE = 'lock_not_available',
          DETAIL = 'The processes that use it: ' || coalesce(others, 'none, now'), HINT = 'Run this again while no long transaction uses the table.';
      END IF;
    END;
    PERFORM pg_sleep(0.25 * 2 ^ try);
  END LOOP;
  IF rest IS NOT NULL THEN
    EXECUTE format('LOCK TABLE %%s IN ACCESS EXCLUSIVE MODE NOWAIT', rest); -- who uses it by its own name
  END IF;

  -- Look again, at what has come in since, and drop. What takes too long is left for later.
  since := clock_timestamp();
  PERFORM set_config('enable_seqscan', 'off', true); -- whatever the statistics say
  -- DROP TABLE also locks the tables that a foreign key of the partition itself references. All
  -- INSERTs wait now, so it waits for those no longer than this.
  PERFORM set_config('lock_timeout', '10ms', true);
  FOR n IN 1 .. cardinality(free) LOOP
    EXIT WHEN n > 1 AND clock_timestamp() > since + interval '100 ms'; -- one is tried, however slow the server is
    part := parts[free[n]];
    found := oids[free[n]];
    BEGIN
      EXECUTE format('LOCK TABLE %%s IN ACCESS EXCLUSIVE MODE NOWAIT', part); -- who uses it by its own name
      -- While no lock was there, it may have been detached, to be archived, or another table may
      -- have got its name.
      IF NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = found AND inhparent = tab AND NOT inhdetachpending AND to_regclass(part) = found) THEN
        RAISE NOTICE 'partition %% stays: it has been detached or renamed', part;
        CONTINUE;
      END IF;
      EXECUTE format('SELECT EXISTS (SELECT FROM %%1$s WHERE {{due_condition}}) OR EXISTS (SELECT FROM %%1$s WHERE {{scheduled_condition}})
        OR EXISTS (SELECT FROM %%1$s WHERE {{dead_condition}})', part) INTO keeps;
      IF keeps THEN
        RAISE NOTICE 'partition %% stays: a row has come in that is not sent', part;
        CONTINUE;
      END IF;
      EXECUTE format('DROP TABLE %%s', part);
    EXCEPTION WHEN lock_not_available OR dependent_objects_still_exist OR insufficient_privilege THEN
      RAISE WARNING 'partition %% stays: %%', part, SQLERRM;
      CONTINUE;
    END;
    RETURN NEXT part;
  END LOOP;
END
