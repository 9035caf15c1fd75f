//go:build mutants

package mutants

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// mutant is one rule taken out.
type mutant struct {
	rule  string
	file  string // under the root of the module
	old   string
	new   string
	times int    // that old occurs; 0 for once
	pkg   string // of the test that has to fail
	test  string // go test -run
}

var mutants = []mutant{
	{
		rule: "1: a pass is bounded by the largest id of its first snapshot",
		file: "relay/intake.go",
		old:  "in.pass = res.pass\n",
		new:  "in.pass = res.pass\n\t\tin.pass.Bound = math.MaxInt64\n",
		pkg:  "./relay", test: "TestLowIDThatCommitsBetweenChunksIsNotOvertaken",
	},
	{
		rule: "1: what ended after the pass began is left to the next one",
		file: "relay/intake.go",
		old:  "row.Wait > 0 || row.Late",
		new:  "row.Wait > 0",
		pkg:  "./relay", test: "TestTransactionThatCommitsBetweenChunksKeepsItsOrder",
	},
	{
		rule: "1: a savepoint's rows are its transaction's",
		file: "relay/postgres/late.go",
		old:  "now.Within(entries[i].writer, first)",
		new:  "first > 0 && !began.Sees(relay.XID(entries[i].writer))",
		pkg:  "./relay", test: "TestTransactionThatCommitsBetweenChunksKeepsItsOrder",
	},
	{
		rule: "1: an open transaction makes no row late",
		file: "relay/postgres/late.go",
		old:  "began.FirstEnded(now.Snapshot)",
		new:  "began.Xmin()",
		pkg:  "./relay", test: "TestOpenTransactionDoesNotMakeABacklogLate",
	},
	{
		rule: "1: a cursor does not outlive its pass",
		file: "relay/intake.go",
		old:  "in.cursor, in.scanned, in.taken = math.MinInt64, false, 0",
		new:  "in.cursor, in.scanned, in.taken = max(in.cursor, math.MinInt64+1), false, 0",
		pkg:  "./relay", test: "TestRowWithALowIDThatCommitsLateIsFound",
	},
	{
		rule: "2: a row in flight is not taken twice",
		file: "relay/intake.go",
		old:  "if in.flight.has(m.Ref) {\n\t\treturn false\n\t}\n",
		new:  "",
		pkg:  "./relay", test: "TestRowInFlightIsNotPublishedAgain",
	},
	{
		rule: "2: a row lingers until the running sweep has passed it",
		file: "relay/inflight.go",
		old:  "case f.reading:",
		new:  "case false:",
		pkg:  "./relay", test: "TestRowMarkedDuringASweepIsNotPublishedTwice",
	},
	{
		rule: "2: a row is known by its message id too",
		file: "relay/inflight.go",
		old:  "_, ok := f.rows[r]\n\treturn ok",
		new:  "for known := range f.rows {\n\t\tif known.ID == r.ID {\n\t\t\treturn true\n\t\t}\n\t}\n\treturn false",
		pkg:  "./relay", test: "TestTruncateRestartIdentityWithRowsInFlight",
	},
	{
		rule: "2: a row counts against the window until its outcome is committed",
		file: "relay/outcomes.go",
		old:  "t.dispatcher.release(m)\n",
		new:  "t.dispatcher.release(m)\n\tt.dispatcher.uncommitted--\n",
		pkg:  "./relay", test: "TestWindowStaysClosedWhileNothingCanBeMarked",
	},
	{
		rule:  "5: a refused row holds its key",
		file:  "relay/outcomes.go",
		old:   "if t.dispatcher.ordered(m) {", // before the refusal, and after its commit
		new:   "if false {",
		times: 2,
		pkg:   "./relay", test: "TestHeadRefusedWhileASweepRunsKeepsItsKeyWaiting",
	},
	{
		rule: "5: a head that waits for its retry renews the hold",
		file: "relay/intake.go",
		old:  "\t\t\tin.holds.drop(m.Key)\n",
		new:  "",
		pkg:  "./relay", test: "TestWaitingHeadHoldsItsKeyAfterARestart",
	},
	{
		rule: "5: a key whose chain is full is parked",
		file: "relay/intake.go",
		old:  "\tin.parked[m.Key] = m.ID - 1\n",
		new:  "",
		pkg:  "./relay", test: "TestChainLongerThanItsCapKeepsItsOrder",
	},
	{
		rule: "5: the window is given back when the sink is down",
		file: "relay/breaker.go",
		old:  "\tt.giveBack()\n",
		new:  "",
		pkg:  "./relay", test: "TestSinkThatStallsGivesTheWindowBack",
	},
	{
		rule: "9: a parked key is read on within its pass",
		file: "relay/intake.go",
		old:  "\t\tdefault:\n\t\t\tin.readParked()\n",
		new:  "\t\tdefault:\n\t\t\tclear(in.parked)\n",
		pkg:  "./relay", test: "TestHotKeyIsReadOnWithinItsPass",
	},
	{
		rule: "5: keys that wait in thousands stop nobody",
		file: "relay/hold.go",
		old:  "return len(h.more) > maxHashedKeys",
		new:  "return len(h.more) > 0",
		pkg:  "./relay", test: "TestKeysThatWaitInThousandsStopNobody",
	},
	{
		rule: "7: a tail that falls behind is left",
		file: "relay/tail_lag.go",
		old:  "return w.behind >= behindLimit",
		new:  "return false",
		pkg:  "./relay", test: "TestTailThatFallsBehindIsLeft",
	},
	{
		rule: "7: the survey that the log waits for comes in time",
		file: "relay/surveying.go",
		old:  "min(pause, overdueAfter)",
		new:  "pause",
		pkg:  "./relay", test: "TestBrokerAwayForAMomentDoesNotCostTheTail",
	},
	{
		rule: "8: the relay does not pass for a synchronous standby",
		file: "relay/tail/lag.go",
		old:  `string(rows[0][2]) == "t"`,
		new:  `false`,
		pkg:  "./relay", test: "TestRelayDoesNotPassForASynchronousStandby",
	},
	{
		rule: "9: one unacknowledged row of a key",
		file: "relay/dispatcher.go",
		old:  "func (d *dispatcher) ordered(m *Message) bool { return m.Keyed && d.ordering == OrderByKey }",
		new:  "func (d *dispatcher) ordered(m *Message) bool { return false }",
		pkg:  "./relay", test: "TestDispatcherAgreesWithModel",
	},
	{
		rule: "11: a row that is gone settles its mark",
		file: "relay/postgres/write.go",
		old:  "gone = append(gone, ref)",
		new:  "_ = ref",
		pkg:  "./relay", test: "TestHeadDeletedByTheApplicationStopsNothing",
	},
	{
		rule: "11: the answers of a write that fails do not count",
		file: "relay/postgres/write.go",
		old:  "if err != nil {\n\t\t\treturn nil, err\n\t\t}\n\t\treturn answers, nil\n\t}\n\tanswers, err",
		new:  "_ = err\n\t\treturn answers, nil\n\t}\n\tanswers, err",
		pkg:  "./relay", test: "TestMarksThatFailInTheirCommitAreMadeLater",
	},
	{
		rule: "11: a locked row keeps no large one waiting",
		file: "relay/dispatcher.go",
		old:  "(d.unreported.rows == 0 || d.unreported.bytes",
		new:  "(d.uncommitted == 0 || d.unreported.bytes",
		pkg:  "./relay", test: "TestLargeRowDoesNotWaitForALockedOne",
	},
	{
		rule: "15: a stop that leaves rows unmarked is no success",
		file: "relay/term.go",
		old:  "if t.stopping && t.dispatcher.uncommitted > 0 {",
		new:  "if false {",
		pkg:  "./relay", test: "TestStopWithoutMarksIsNoSuccess",
	},
	{
		rule: "2: a mark names the message id too",
		file: "relay/postgres/write.go",
		old:  "const matching = `o.id = m.id AND o.message_id = m.message_id`",
		new:  "const matching = `o.id = m.id AND m.message_id IS NOT NULL`",
		pkg:  "./relay", test: "TestTruncateRestartIdentityWithRowsInFlight",
	},
	{
		rule: "12: a failed control session ends the term",
		file: "relay/marker.go",
		old:  "if err != nil && ctx.Err() == nil {\n\t\t\treturn err",
		new:  "if err != nil && ctx.Err() == nil {\n\t\t\tcontinue",
		pkg:  "./relay", test: "TestControlSessionTerminatedLosesNothing",
	},
	{
		rule: "15: what is in flight at SIGTERM is awaited and marked",
		file: "relay/term.go",
		old:  "if t.stopping && t.dispatcher.uncommitted == 0 {",
		new:  "if t.stopping {",
		pkg:  "./relay", test: "TestStopAwaitsWhatIsInFlight",
	},
	{
		rule: "11: a locked row stops no other row's mark",
		file: "relay/postgres/write.go",
		old:  "err := c.query(ctx, writeDeadline, st, params",
		new:  "err := c.query(ctx, writeDeadline, w.plain, params",
		pkg:  "./relay/postgres", test: "TestLockedRowHoldsUpNoOther",
	},
	{
		rule: "11: refusals commit durably",
		file: "relay/postgres/refuse.go",
		old:  "set_config('synchronous_commit', 'on', true)",
		new:  "set_config('synchronous_commit', 'off', true)",
		pkg:  "./relay/postgres", test: "TestRefusalsCommitDurablyAndMarksDoNot",
	},
	{
		rule: "12: standbys are woken by a leader that resigns",
		file: "relay/postgres/control.go",
		old:  "pg_notify",
		new:  "concat", // which notifies nobody
		pkg:  "./relay/postgres", test: "TestResignWakesTheStandbys",
	},
	{
		rule: "12: a sweep session is on the server where the control session leads",
		file: "relay/postgres/leader.go",
		old:  "case string(row[1]) != \"t\":",
		new:  "case false:",
		pkg:  "./relay/postgres", test: "TestSweepIsForTheLeaderOnly",
	},
	{
		rule: "12: a tail is on the server where the control session leads",
		file: "relay/postgres/tail.go",
		old:  "return c.checkLeader(ctx, pg)",
		new:  "_ = c\n\t\t\treturn nil",
		pkg:  "./relay/postgres", test: "TestTailIsOpenedBesideTheLeaderOnly",
	},
	{
		rule: "13: the session of a frozen leader is ended",
		file: "relay/postgres/settings.go",
		old:  `{"idle_session_timeout", "5s"}`,
		new:  `{"idle_session_timeout", "0"}`,
		pkg:  "./e2e", test: "TestStandbyTakesOverFromAFrozenLeader",
	},
	{
		rule: "13: a heartbeat keeps the session of a leader that has nothing to do",
		file: "relay/marker.go",
		old:  "return k.control.Heartbeat(ctx)",
		new:  "return nil",
		pkg:  "./e2e", test: "TestIdleLeaderKeepsTheLead",
	},
	{
		rule: "14: a leader without a broker steps down",
		file: "relay/term.go",
		old:  `return fmt.Errorf("%w: %s", errSteppedDown, t.breaker.reason)`,
		new:  "",
		pkg:  "./relay", test: "TestLeaderWithoutABrokerStepsDown",
	},
	{
		rule: "section 5: a poison row that kills connections takes attempts",
		file: "relay/outcomes.go",
		old:  "if alone {",
		new:  "if alone && false {",
		pkg:  "./e2e", test: "TestPoisonThatKillsConnectionsIsIsolated",
	},
	{
		rule: "section 5: an outage counts no attempt",
		file: "relay/outcomes.go",
		old:  "t.openBreaker(string(o.Type), o.Err)\n\t\tt.putBack(m)",
		new:  "t.openBreaker(string(o.Type), o.Err)\n\t\tt.refuse(m, o)",
		pkg:  "./relay", test: "TestSinkThatStallsGivesTheWindowBack",
	},
	{
		rule: "3: the fence waits for whatever committed before the slot",
		file: "relay/tail/fence.go",
		old:  "if err == nil && oldest > own {",
		new:  "if err == nil && oldest+own > 0 {",
		pkg:  "./relay/tail", test: "TestFenceWaitsForWhatHasCommittedAndIsNotVisible",
	},
	{
		rule: "4: what the newest survey saw is skipped in the log",
		file: "relay/tailing.go",
		old:  "case t.seen.Sees(ev.XID):\n\t\tt.unconfirmed",
		new:  "case false:\n\t\tt.unconfirmed",
		pkg:  "./relay", test: "TestRowThatASurveyHasBroughtIsNotTakenFromTheLogAgain",
	},
	{
		rule: "4: only a complete survey installs its snapshot",
		file: "relay/surveying.go",
		old:  "case !s.Complete:",
		new:  "case false:",
		pkg:  "./relay", test: "TestSurveyThatDoesNotFitLeavesTheTail",
	},
	{
		rule: "5: rows of the log wait for a held key",
		file: "relay/tailing.go",
		old:  "case in.dispatcher.ordered(m) && in.holds.blocks(m.Key):",
		new:  "case false:",
		pkg:  "./relay", test: "TestLogDoesNotPassARefusedHead",
	},
	{
		rule: "5: a hold outlasts a survey that does not see what was dropped",
		file: "relay/surveying.go",
		old:  "return !s.Snapshot.Sees(x) })",
		new:  "return false })",
		pkg:  "./relay", test: "TestHoldOutlastsASurveyThatDoesNotSeeWhatWasDropped",
	},
	{
		rule: "5: a chain that the log fills turns into a hold",
		file: "relay/tailing.go",
		old:  "\t\tin.holds.drop(m.Key)\n\t\tt.forget(m)\n",
		new:  "\t\tt.forget(m)\n",
		pkg:  "./relay", test: "TestHotKeyOfTheLogKeepsItsOrder",
	},
	{
		rule: "5: after the window is given back a survey comes first",
		file: "relay/tailing.go",
		old:  "t.overdue = true // also",
		new:  "t.overdue = false // also",
		pkg:  "./relay", test: "TestBrokerAwayForAMomentReordersNothing",
	},
	{
		rule: "6: a row of the log that is not due is swept when it is",
		file: "relay/surveying.go",
		old:  "\t\tt.wakeAt(now.Add(ev.Wait))\n",
		new:  "",
		pkg:  "./relay", test: "TestRowsThatTheLogTellsOfTooEarlyAreSentWhenTheyAreDue",
	},
	{
		rule: "6: a scheduled row in the table is swept when it is due",
		file: "relay/surveying.go",
		old:  "\t\tt.wakeAt(now.Add(s.NextScheduled))\n",
		new:  "",
		pkg:  "./relay", test: "TestScheduledRowsAreSentWhenTheyAreDue",
	},
	{
		rule: "6: a refused row is swept when it is due",
		file: "relay/outcomes.go",
		old:  "\t\tt.tail.wakeAt(time.Now().Add(m.retry))\n",
		new:  "",
		pkg:  "./relay", test: "TestLogDoesNotPassARefusedHead",
	},
	{
		rule: "7: a tail that is not read is left",
		file: "relay/tailing.go",
		old:  "now.Sub(t.unread) < unreadLimit",
		new:  "now.Sub(t.unread) < time.Hour",
		pkg:  "./relay", test: "TestTailThatIsNotReadIsLeft",
	},
	{
		rule: "7: the log that the server keeps is bounded",
		file: "relay/tailing.go",
		old:  "case res.retained > t.maxWAL:",
		new:  "case res.retained < 0:",
		pkg:  "./relay", test: "TestTailIsLeftWhenItsSlotKeepsTooMuch",
	},
	{
		rule: "7: a publication that has lost the table ends the tail",
		file: "relay/tailing.go",
		old:  "case res.refusal != nil:",
		new:  "case false:",
		pkg:  "./relay", test: "TestPublicationThatLosesTheTableIsFoundOut",
	},
	{
		rule: "7: rows that the log has missed are counted",
		file: "relay/unconfirmed.go",
		old:  "\t\t\tmissed++\n",
		new:  "",
		pkg:  "./relay", test: "TestRowsThatTheLogHasMissedAreCounted",
	},
	{
		rule: "8: the gate keeps back what is not visible",
		file: "relay/gate.go",
		old:  "if !g.on() ||",
		new:  "if true ||",
		pkg:  "./relay", test: "TestGateKeepsBackWhatMayNeverHaveBeen",
	},
	{
		rule: "11: a row is not gone before its transaction is visible",
		file: "relay/postgres/write.go",
		old:  "if m.xid == 0 || seen.Sees(m.xid) {",
		new:  "if true {",
		pkg:  "./relay", test: "TestRowThatIsNotVisibleYetIsNotTakenForGone",
	},
	{
		rule: "section 5: no slot is kept while the broker is down",
		file: "relay/tailing.go",
		old:  "case tailOpening, tailJoining, tailStarting:\n\t\t// A slot",
		new:  "case tailStarting:\n\t\t// A slot",
		pkg:  "./relay", test: "TestSlotIsNotKeptForABrokerThatIsDown",
	},
	{
		rule: "4: a survey's snapshot is taken behind the lock",
		file: "relay/postgres/survey.go",
		old:  "READ ONLY; LOCK TABLE ` + s.table.Quoted() + ` IN ACCESS SHARE MODE`",
		new:  "READ ONLY`",
		pkg:  "./relay/postgres", test: "TestSurveyBehindARewriteSeesTheRows",
	},
}

func TestEachRuleHasATestThatFailsWithoutIt(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range slices.Concat(mutants, rabbitmqMutants) {
		t.Run(m.rule, func(t *testing.T) {
			out, err := m.run(t, root)
			switch {
			case err == nil:
				t.Errorf("%s passes without the rule", m.test)
			case strings.Contains(out, "[build failed]") || strings.Contains(out, "no tests to run"):
				t.Errorf("the mutant does not run:\n%s", out)
			default:
				t.Log(out) // whether it fails for the right reason
			}
		})
	}
}

// run runs the mutant's test with the rule taken out.
func (m mutant) run(t *testing.T, root string) (string, error) {
	t.Helper()
	path := filepath.Join(root, m.file)
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n, want := strings.Count(string(source), m.old), max(1, m.times); n != want {
		t.Fatalf("%s has the text of the rule %d times, want %d: move the mutant with the code\n%s", m.file, n, want, m.old)
	}
	mutated := filepath.Join(t.TempDir(), filepath.Base(m.file))
	if err := os.WriteFile(mutated, []byte(strings.ReplaceAll(string(source), m.old, m.new)), 0o600); err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {path: mutated}})
	if err != nil {
		t.Fatal(err)
	}
	overlayFile := filepath.Join(t.TempDir(), "overlay.json")
	if err := os.WriteFile(overlayFile, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-timeout=3m", "-run", "^"+m.test+"$", m.pkg)
	cmd.Dir = root
	// For the binaries that the end-to-end tests build, too.
	cmd.Env = append(os.Environ(), "GOFLAGS="+os.Getenv("GOFLAGS")+" -overlay="+overlayFile)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
