//go:build mutants

package mutants

// neighbourMutants are the rules about others' trouble.
var neighbourMutants = []mutant{
	{
		rule: "16: a statement that is refused does not end the session",
		file: "relay/postgres/errors.go",
		old:  "return refusedWrite{explained}",
		new:  "return explained",
		pkg:  "./relay/engine", test: "TestRowThatCannotBeMarkedStopsNoOther/constraint",
	},
	{
		rule: "16: a batch that is refused is halved",
		file: "relay/engine/write.go",
		old:  "return k.halve(ctx, rest)",
		new:  "for _, o := range rest {\n\t\tk.setAside(o, cause)\n\t}\n\treturn nil",
		pkg:  "./relay/engine", test: "TestRowThatCannotBeMarkedStopsNoOther/constraint",
	},
	{
		rule: "16: a row that cannot be marked leaves the window",
		file: "relay/engine/outcomes.go",
		old:  "if t.outside.move(m, s.place) {",
		new:  "if t.outside.move(m, s.place) && s.place != setAside {",
		pkg:  "./relay/engine", test: "TestRowsThatCannotBeMarkedDoNotFillTheWindow",
	},
	{
		rule: "16: one bad row of a quiet table is no fault of the table",
		file: "relay/engine/write.go",
		old:  "(written == 0 || k.refusals+len(refused) >= samples)",
		new:  "true",
		pkg:  "./relay/engine", test: "TestBadRowOfAQuietTableIsTakenForBad",
	},
	{
		rule: "16: a write that is suppressed is the row's fault",
		file: "relay/postgres/mark.go",
		old:  "return settled, c.suppressed(left)",
		new:  "return settled, nil",
		pkg:  "./relay/engine", test: "TestRowThatCannotBeMarkedStopsNoOther/trigger_that_suppresses",
	},
	{
		rule: "16: a refused row that somebody marked sent waits for no write",
		file: "relay/postgres/write.go",
		old:  `newStatement("pending", "_refused", writeBlanks{Table: blanks.Table})`,
		new:  `newStatement("pending", "_refused", blanks)`,
		pkg:  "./relay/postgres", test: "TestRefuseLeavesSentAndDeletedRowsAlone",
	},
	{
		rule: "17: nothing is published while no row can be marked",
		file: "relay/engine/opening.go",
		old:  "if !w.table.isOpen() {\n\t\treturn",
		new:  "if true {\n\t\treturn",
		pkg:  "./relay/engine", test: "TestMarksThatAllFailStopThePublishing",
	},
	{
		rule: "17: a term begins with one row",
		file: "relay/engine/term.go",
		old:  "rows: 1, proven: r.config.openWindow",
		new:  "proven: true",
		pkg:  "./relay/engine", test: "TestTermsBeginWithOneRow",
	},
	{
		rule: "17: rows are tried more and more rarely",
		file: "relay/engine/table_breaker.go",
		old:  "tableProbe.ceiling(max(1, b.rows))",
		new:  "tableProbe.ceiling(1)",
		pkg:  "./relay/engine", test: "TestMarksThatAllFailStopThePublishing",
	},
	{
		rule: "17: what fails in a trigger is not the outbox table",
		file: "relay/postgres/errors.go",
		old:  `where != "" {`,
		new:  `where == "-" {`,
		pkg:  "./relay/engine", test: "TestMarksThatAllFailStopThePublishing",
	},
	{
		rule: "17: bad rows of a full window do not stop the good ones behind them",
		file: "relay/engine/opening.go",
		old:  "return t.dispatcher.uncommitted + 1",
		new:  "return min(t.dispatcher.uncommitted+1, t.window.full)",
		pkg:  "./relay/engine", test: "TestRowsThatCannotBeMarkedDoNotFillTheWindow",
	},
	{
		rule: "19: a locked row leaves the window",
		file: "relay/engine/outcomes.go",
		old:  "if t.outside.move(m, s.place) {",
		new:  "if s.place != behindALock && t.outside.move(m, s.place) {",
		pkg:  "./relay/engine", test: "TestLockedRowsAreNamedAndStopNoOther",
	},
	{
		rule: "19: locked rows in front of a term are tried together",
		file: "relay/engine/opening.go",
		old:  "o.rows = min(2*o.rows, o.full)",
		new:  "",
		pkg:  "./relay/engine", test: "TestLockedRowsAreNamedAndStopNoOther",
	},
	{
		rule: "19: who has rows locked is looked up",
		file: "relay/engine/locked.go",
		old:  "k.blockers = blockers{found: found, lookAt",
		new:  "k.blockers = blockers{lookAt",
		pkg:  "./relay/engine", test: "TestLockedRowsAreNamedAndStopNoOther",
	},
}
