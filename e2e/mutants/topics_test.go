//go:build mutants

package mutants

// topicsMutants are the rules about the topics that may be published.
var topicsMutants = []mutant{
	{
		rule: "W5: only topics that are allowed are published",
		file: "relay/allowed.go",
		old:  "if s.topics.Allows(m.Topic) {\n\t\treturn false",
		new:  "if s.topics.Allows(m.Topic) || true {\n\t\treturn false",
		pkg:  "./relay", test: "TestTopicsThatAreNotAllowedGoNoFurther",
	},
	{
		rule: "W5: what is not allowed joins no lane",
		file: "relay/allowed.go",
		old:  "if !s.topics.Allows(m.Topic) {\n\t\treturn Lane{}",
		new:  "if false {\n\t\treturn Lane{}",
		pkg:  "./relay", test: "TestTopicsThatAreNotAllowedGoNoFurther",
	},
	{
		rule: "W5: a star stays within its token",
		file: "relay/topics.go",
		old:  "topic[one.topic] != '.'",
		new:  "topic[one.topic] != 0",
		pkg:  "./relay", test: "TestTopicsAllowWhatTheirPatternsMatch",
	},
}
