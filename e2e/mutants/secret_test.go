//go:build mutants

package mutants

// secretMutants are the rules about secrets that are rotated.
var secretMutants = []mutant{
	{
		rule: "F7: a secret remembers its file",
		file: "cmd/outbox-relay/internal/config/parse.go",
		old:  "secret.file = file",
		new:  "secret.file = file[:0]",
		pkg:  "./cmd/outbox-relay/internal/config", test: "TestSecretsAreReadAgainFromTheirFiles",
	},
	{
		rule: "F7: the database's URL is read for each session",
		file: "relay/postgres/database.go",
		old:  "if d.options.ReadURL != nil {",
		new:  "if false {",
		pkg:  "./e2e", test: "TestRotatedDatabasePasswordIsTakenUp",
	},
	{
		rule: "F7: the tail's session reads it too",
		file: "relay/postgres/tail.go",
		old:  "config, err := d.connConfig()",
		new:  "config, err := d.config, error(nil)",
		pkg:  "./e2e", test: "TestRotatedDatabasePasswordIsTakenUp",
	},
	{
		rule: "F7: NATS's URL is read for each connection",
		file: "sinks/natsjs/credentials.go",
		old:  "link.Reread(o.URLs, o.ReadURLs)",
		new:  "link.Reread(o.URLs, nil)",
		pkg:  "./sinks/natsjs", test: "TestTokenAndURLsAreReadForEachConnection",
	},
	{
		rule: "F7: NATS's token is read for each connection",
		file: "sinks/natsjs/credentials.go",
		old:  "link.Reread(o.Token, o.ReadToken)",
		new:  "link.Reread(o.Token, nil)",
		pkg:  "./sinks/natsjs", test: "TestTokenAndURLsAreReadForEachConnection",
	},
	{
		rule: "F7: RabbitMQ's URL is read for each connection",
		file: "sinks/rabbitmq/credentials.go",
		old:  "link.Reread(o.URLs, o.ReadURLs)",
		new:  "link.Reread(o.URLs, nil)",
		pkg:  "./e2e", test: "TestRotatedRabbitMQPasswordIsTakenUp",
	},
	{
		rule: "F7: a rotated URL is held to TLS",
		file: "sinks/rabbitmq/credentials.go",
		old:  "return as, o.checkTLS(as)",
		new:  "return as, nil",
		pkg:  "./sinks/rabbitmq", test: "TestRotatedURLWithoutTLSIsRefused",
	},
}
