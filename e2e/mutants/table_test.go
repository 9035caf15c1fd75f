//go:build mutants

package mutants

// tableMutants are the rules of the table and of its migration.
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
		pkg:  "./schema", test: "TestScheduledAndSentRowsCostASweepNothing",
	},
	{
		rule: "T2: a row is not changed in the transaction that inserted it",
		file: "schema/outbox.sql",
		old:  "WHEN (age(OLD.xmin) <= 0)",
		new:  "WHEN (false)",
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
}
