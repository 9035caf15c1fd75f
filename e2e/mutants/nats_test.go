//go:build mutants

package mutants

// natsMutants are the rules of the JetStream sink, and those of the wire that
// all sinks share.
var natsMutants = []mutant{
	{
		rule: "W2: headers that an object mapper writes for none are none",
		file: "relay/headers.go",
		old:  `case "", "{}", "null", "[]":`,
		new:  `case "", "{}":`,
		pkg:  "./relay", test: "TestParseHeaders",
	},
	{
		rule: "NATS: a message has no status",
		file: "sinks/natsjs/validate.go",
		old:  `strings.EqualFold(h.Name, "Status") || strings.EqualFold(h.Name, "Description")`,
		new:  `h.Name == "Status"`,
		pkg:  "./sinks/natsjs", test: "TestConformance/what_breaks_the_rules_of_the_wire_is_rejected_before",
	},
	{
		rule: "NATS: messages carry the message id",
		file: "sinks/natsjs/encode.go",
		old:  "\te.set(headerMessageID, m.MessageID.String())\n",
		new:  "",
		pkg:  "./sinks/natsjs", test: "TestConformance/what_is_acknowledged_is_stored_as_it_was",
	},
	{
		rule: "NATS: an answer that is no stream's acknowledges nothing",
		file: "sinks/natsjs/reply.go",
		old:  `case ack.Stream == "" || ack.Sequence == 0:`,
		new:  "case false:",
		pkg:  "./sinks/natsjs", test: "TestAnswerThatIsNoStreamsAcknowledgesNothing",
	},
	{
		rule: "NATS: a second answer to one publish acknowledges no other",
		file: "sinks/natsjs/pending.go",
		old:  "t.number != 0 && p.slots[t.slot].number == t.number {",
		new:  "t.number != 0 && p.slots[t.slot].number != 0 {",
		pkg:  "./sinks/natsjs", test: "TestSecondAnswerForOnePublishAcknowledgesNothingElse",
	},
	{
		rule: "NATS: an acknowledgement says whether it is of a duplicate",
		file: "sinks/natsjs/reply.go",
		old:  "duplicate: ack.Duplicate, ",
		new:  "",
		pkg:  "./sinks/natsjs", test: "TestConformance/a_message_id_the_broker_has_is_a_duplicate",
	},
	{
		rule: "NATS: a late message is refused only where the broker works",
		file: "sinks/natsjs/watch.go",
		old:  "&& (e.number < acked || seen.After(e.deadline))",
		new:  "&& (true || e.number < acked || seen.After(e.deadline))",
		pkg:  "./sinks/natsjs", test: "TestConformance/a_half_open_connection_is_given_up",
	},
	{
		rule: "NATS: a topic that nobody takes stops no other",
		file: "sinks/natsjs/watch.go",
		old:  "return e.phase == undecided && e.first < acked",
		new:  "return e.phase == undecided && e.first < acked && false",
		pkg:  "./sinks/natsjs", test: "TestPublishOnlyRightsSuffice",
	},
	{
		rule: "NATS: an answer that is no stream's settles nothing before the deadline",
		file: "sinks/natsjs/session.go",
		old:  "\t\ts.pending.markStranger(t)\n",
		new:  "\t\tif it, ok := s.pending.take(t); ok {\n\t\t\tit.done(notAStream(it.message.Topic))\n\t\t}\n",
		pkg:  "./sinks/natsjs", test: "TestServiceThatAnswersFirstRefusesNothingThatIsStored",
	},
	{
		rule: "NATS: a cluster that nobody leads may have streams that take messages",
		file: "sinks/natsjs/probe.go",
		old:  "errors.Is(err, nats.ErrTimeout), isAnswer(err):",
		new:  "errors.Is(err, nats.ErrTimeout):",
		pkg:  "./sinks/natsjs", test: "TestStreamIsPublishedToWhileNobodyLeadsTheCluster",
	},
	{
		rule: "NATS: a question that is denied is no sign of death",
		file: "sinks/natsjs/watch.go",
		old:  "\t\terr = s.roundTrip(ctx)\n",
		new:  "",
		pkg:  "./sinks/natsjs", test: "TestDeniedQuestionEndsNoConnection",
	},
	{
		rule: "NATS: a change of the stream's leader is not the message's fault",
		file: "sinks/natsjs/watch.go",
		old:  "e.phase == unanswered && e.due.IsZero() && half.After(e.deadline)",
		new:  "half.IsZero()",
		pkg:  "./sinks/natsjs", test: "TestLeaderOfAStreamStepsDownUnderLoad",
	},
	{
		rule: "NATS: no topic is a wildcard",
		file: "sinks/natsjs/validate.go",
		old:  "return errWildcard",
		new:  "continue",
		pkg:  "./sinks/natsjs", test: "TestConformance/what_breaks_the_rules_of_the_wire_is_rejected_before",
	},
	{
		rule: "NATS: no topic is the server's",
		file: "sinks/natsjs/validate.go",
		old:  "if topic[0] == '$' || ",
		new:  "if ",
		pkg:  "./sinks/natsjs", test: "TestConformance/what_breaks_the_rules_of_the_wire_is_rejected_before",
	},
	{
		rule: "NATS: a payload fits the limit",
		file: "sinks/natsjs/validate.go",
		old:  "case l.payload > 0 && payload > l.payload:",
		new:  "case false:",
		pkg:  "./sinks/natsjs", test: "TestOwnLimitLowersTheServers",
	},
	{
		rule: "W2: a value ends no header early",
		file: "relay/validate.go",
		old:  "case HasControl(h.Value):",
		new:  "case false:",
		pkg:  "./relay", test: "TestValidateSaysWhatToMend",
	},
	{
		rule: "W2: a row does not choose the relay's headers",
		file: "relay/validate.go",
		old:  "strings.EqualFold(h.Name[:len(p)], p) {",
		new:  "strings.EqualFold(h.Name[:len(p)], p) && false {",
		pkg:  "./relay", test: "TestValidateSaysWhatToMend",
	},
}
