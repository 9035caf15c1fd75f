//go:build mutants

package mutants

// printingMutants are the rules about what is printed to be pasted.
var printingMutants = []mutant{
	{
		rule: "W4: a quote does not end the word",
		file: "relay/quote.go",
		old:  "strings.ReplaceAll(OneLine(text), \"'\", `'\\''`)",
		new:  "OneLine(text)",
		pkg:  "./cmd/outbox-relay", test: "TestTopicIsPrintedHarmless",
	},
	{
		rule: "W4: a word stays on its line",
		file: "relay/quote.go",
		old:  "strings.ReplaceAll(OneLine(text), ",
		new:  "strings.ReplaceAll(text, ",
		pkg:  "./relay", test: "TestShellReadsBackWhatWasQuoted",
	},
	{
		rule: "W4: a topic does not end its Erlang term",
		file: "sinks/rabbitmq/examine.go",
		old:  "if !strings.ContainsFunc(text, special) {",
		new:  "if special('x') || true {",
		pkg:  "./sinks/rabbitmq", test: "TestDoctorsFixRunsNothingOfATopic",
	},
	{
		rule: "W4: a table's name is one word",
		file: "relay/postgres/errors.go",
		old:  "relay.ShellQuote(other.String())",
		new:  "relay.OneLine(other.String())",
		pkg:  "./cmd/outbox-relay", test: "TestNamesOfOthersArePrintedHarmless",
	},
}
