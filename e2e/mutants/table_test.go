//go:build mutants

package mutants

// tableMutants are the rules of the table, its migration, the sessions that use it,
// and refusals.
var tableMutants = []mutant{
	{
		rule: "T1: a scheduled row is in the index of scheduled rows only",
		file: "schema/sql.go",
		old:  "Columns: \"id\", Rows: Due}",
		new:  "Columns: \"id\", Rows: Pending}",
		pkg:  "./schema", test: "TestAPendingRowIsInExactlyOnePendingIndex",
	},
	{
		rule: "T1: a sent row is in no index",
		file: "schema/sql.go",
		old:  "Columns: \"id\", Rows: Due}",
		new:  "Columns: \"id\", Rows: `dead_at IS NULL AND (available_at IS NULL OR attempts > 0)`}",
		pkg:  "./schema", test: "TestScheduledAndSentRowsCostAPassNothing",
	},
	{
		rule: "T2: a row is not changed in the transaction that inserted it",
		file: "schema/outbox.sql",
		old:  "WHEN (age(OLD.xmin) <= 0)",
		new:  "WHEN (false)",
		pkg:  "./schema", test: "TestGuardForbidsChangesInTheInsertingTransaction",
	},
	{
		rule: "T2: a table is not truncated in the transaction that inserted a row",
		file: "schema/outbox.sql",
		old:  "IF TG_OP = 'TRUNCATE' THEN\n",
		new:  "IF TG_OP = 'TRUNCATE' THEN\n    RETURN NULL;\n",
		pkg:  "./schema", test: "TestGuardForbidsChangesInTheInsertingTransaction",
	},
	{
		rule: "T2: a row may be changed in a later transaction",
		file: "schema/outbox.sql",
		old:  "IF status = 'in progress' THEN",
		new:  "IF true THEN",
		pkg:  "./schema", test: "TestGuardLetsOtherTransactionsChangeRows",
	},
	{
		rule: "T3: the migration waits for no lock for long",
		file: "schema/outbox.sql",
		old:  "SET LOCAL lock_timeout = '500ms';",
		new:  "SET LOCAL lock_timeout = 0;",
		pkg:  "./schema", test: "TestMigrateWaitingForALockDoesNotStopInserts",
	},
	{
		rule: "T3: two migrations at once do not race",
		file: "schema/outbox.sql",
		old:  "PERFORM pg_advisory_xact_lock(",
		new:  "PERFORM (",
		pkg:  "./schema", test: "TestConcurrentMigrationsBothSucceed",
	},
	{
		rule: "T4: rows that a policy hides are an error",
		file: "relay/postgres/settings.go",
		old:  `{"row_security", "off"}`,
		new:  `{"row_security", "on"}`,
		pkg:  "./relay/postgres", test: "TestRowLevelSecurityThatHidesRowsIsAnError",
	},
	{
		rule: "T4: a role that is read-only by default stops no mark",
		file: "relay/postgres/settings.go",
		old:  "\t{\"default_transaction_read_only\", \"off\"},\n",
		new:  "",
		pkg:  "./relay/postgres", test: "TestSettingsArePinned",
	},
	{
		rule: "T4: a role's timeout ends no statement of the relay",
		file: "relay/postgres/settings.go",
		old:  "\t{\"statement_timeout\", \"0\"},\n",
		new:  "",
		pkg:  "./relay/postgres", test: "TestSettingsArePinned",
	},
	{
		rule: "F2: a refusal counts an attempt",
		file: "relay/postgres/sql/refuse.sql",
		old:  "attempts = least(coalesce(o.attempts, 0), 2147483646) + 1,",
		new:  "attempts = least(coalesce(o.attempts, 0), 2147483646),",
		pkg:  "./relay/postgres", test: "TestRefuseWritesTheRetry",
	},
	{
		rule: "F2: a row's first refusal is remembered",
		file: "relay/postgres/sql/refuse.sql",
		old:  "first_attempt_at = coalesce(o.first_attempt_at, now()),",
		new:  "first_attempt_at = now(),",
		pkg:  "./relay/postgres", test: "TestRefuseWritesTheRetry",
	},
	{
		rule: "F2: a young row is not dead, however often it was refused",
		file: "relay/postgres/sql/refuse.sql",
		old:  "<= now() - @age::bigint",
		new:  "<= now() + @age::bigint",
		pkg:  "./relay/postgres", test: "TestRefusedRowsDie",
	},
	{
		rule: "F6: what can never be sent is dead at once",
		file: "relay/postgres/sql/refuse.sql",
		old:  "\t\tWHEN m.final THEN now()\n",
		new:  "",
		pkg:  "./relay/postgres", test: "TestRefusedRowsDie",
	},
	{
		rule: "11: a sent row is not refused",
		file: "relay/postgres/sql/refuse.sql",
		old:  "AND o.sent_at IS NULL AND durable.setting",
		new:  "AND durable.setting",
		pkg:  "./relay/postgres", test: "TestRefuseLeavesSentAndDeletedRowsAlone",
	},
}
