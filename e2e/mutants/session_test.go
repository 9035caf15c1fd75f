//go:build mutants

package mutants

// sessionMutants are the rules about the relay's sessions with PostgreSQL: who is
// in between, who holds the lock, what a frozen relay leaves behind.
var sessionMutants = []mutant{
	{
		rule: "20: nothing is set through a transaction pooler",
		file: "relay/postgres/pooler.go",
		old:  "\tcase shared:\n\t\treturn r,",
		new:  "\tcase shared && false:\n\t\treturn r,",
		pkg:  "./relay/postgres", test: "TestNothingIsSetThroughATransactionPooler",
	},
	{
		rule: "20: the first client asks again, for poolers that lend in turn",
		file: "relay/postgres/pooler.go",
		old:  "err != nil || again.backend != owned.backend {",
		new:  "err != nil {",
		pkg:  "./relay/postgres", test: "TestNothingIsSetThroughATransactionPooler",
	},
	{
		rule: "20: a connection that others have used meanwhile is no client's own",
		file: "relay/postgres/pooler.go",
		old:  "r.backend == owned.backend || r.otherUsed {",
		new:  "r.backend == owned.backend {",
		pkg:  "./relay/postgres", test: "TestTransactionPoolerIsRecognisedUnderLoad",
	},
	{
		rule: "20: a pooler that refuses transactions keeps no sessions",
		file: "relay/postgres/pooler.go",
		old:  "if sqltext.Code(err) == codeProtocolViolation {",
		new:  "if false {",
		pkg:  "./relay/postgres", test: "TestNothingIsSetThroughAStatementPooler",
	},
	{
		rule: "20: the lock is looked up by the process that the server knows",
		file: "relay/postgres/leader.go",
		old:  "c.server.Address, c.route.backend",
		new:  "c.server.Address, c.pg.PID()",
		pkg:  "./relay/postgres", test: "TestRelayWorksThroughASessionPooler",
	},
	{
		rule: "20: a second session takes no other pooler than the first",
		file: "relay/postgres/leader.go",
		old:  "r.pooler != c.route.pooler {",
		new:  "false {",
		pkg:  "./relay/postgres", test: "TestReadingThroughAnotherPoolerIsRefused",
	},
	{
		rule: "20: a session is given back to its pooler as it was",
		file: "relay/postgres/session.go",
		old:  "\t\ts.reset(ctx)\n",
		new:  "",
		pkg:  "./relay/postgres", test: "TestSessionsAreGivenBackToThePoolerAsTheyWere",
	},
	{
		rule: "21: a transaction of a frozen relay is ended",
		file: "relay/postgres/settings.go",
		old:  `{"idle_in_transaction_session_timeout", "10s"}`,
		new:  `{"idle_in_transaction_session_timeout", "0"}`,
		pkg:  "./e2e", test: "TestRelayFrozenInASurveyDoesNotStopTheApplication",
	},
	{
		rule: "21: a result that nobody reads is given up",
		file: "relay/postgres/settings.go",
		old:  `{"tcp_user_timeout", "15s"}`,
		new:  `{"tcp_user_timeout", "0"}`,
		pkg:  "./relay/postgres", test: "TestServerGivesUpAClientThatReadsNothing",
	},
	{
		rule: "18: a standby says what else holds the lock",
		file: "relay/engine/standby.go",
		old:  "return !s.holder.Nobody() && !s.holder.Relay",
		new:  "return false",
		pkg:  "./relay/engine", test: "TestStandbySaysWhoHoldsTheLock",
	},
	{
		rule: "18: a session that is silent for too long is no relay's",
		file: "relay/postgres/holder.go",
		old:  "r.NamedRelay && quiet < silenceLimit",
		new:  "r.NamedRelay",
		pkg:  "./relay/postgres", test: "TestSilentHolderOfTheLockIsNoRelay",
	},
	{
		rule: "18: who stands by for no relay is not ready",
		file: "relay/admin/report.go",
		old:  "case st.NoRelayLeads:",
		new:  "case false:",
		pkg:  "./relay/admin", test: "TestReadinessFollowsTheDatabaseAndNeverTheBrokerOrLeadership",
	},
	{
		rule: "6: notifications wake no standby more often than it may poll",
		file: "relay/engine/standby.go",
		old:  "rest := min(max(r.config.PollInterval, 4*time.Since(began)), standbyPoll)",
		new:  "rest := 0 * time.Since(began)",
		pkg:  "./relay/engine", test: "TestFloodOfNotificationsDoesNotMakeAStandbySpin",
	},
	{
		rule: "6: a standby does without notifications that come by the thousand",
		file: "relay/postgres/listen.go",
		old:  "if n <= floodSize {",
		new:  "if n >= 0 {",
		pkg:  "./relay/postgres", test: "TestStandbyListensNoMoreUnderAFlood",
	},
	{
		rule: "6: a replay is read at once while the log is read",
		file: "relay/engine/term.go",
		old:  "case <-t.reader.session.woken:\n\t\t\tt.tailing.wakeAt(time.Now())\n",
		new:  "case <-t.reader.session.woken:\n",
		pkg:  "./relay/engine", test: "TestReplayIsSentWhileTheLogIsRead",
	},
	{
		rule: "4: a replayed row is none that the log has missed",
		file: "relay/engine/tail_rows.go",
		old:  "row.Attempts == 0 && !row.Scheduled && !row.Refused:",
		new:  "row.Attempts == 0 && !row.Scheduled:",
		pkg:  "./relay/engine", test: "TestReplayIsSentWhileTheLogIsRead",
	},
	{
		rule: "6: a notification that comes too soon waits for its turn",
		file: "relay/postgres/listen.go",
		old:  "case over, s.notified > 0 && resting.Err() != nil:",
		new:  "case over, s.notified > 0:",
		pkg:  "./relay/postgres", test: "TestAwaitHandoverRestsUnderAFlood",
	},
}
