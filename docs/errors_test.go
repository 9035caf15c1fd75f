package docs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/natsjs"
	"github.com/outbox-relay/outbox-relay/sinks/rabbitmq"
)

var knownErrors = []struct {
	broker, dir string
	errors      []relay.KnownError
}{
	{"NATS JetStream", "sinks/natsjs", natsjs.KnownErrors()},
	{"RabbitMQ", "sinks/rabbitmq", rabbitmq.KnownErrors()},
}

// errorTables are the tables of docs/errors.md, as the code has them.
func errorTables() string {
	var b strings.Builder
	for _, k := range knownErrors {
		fmt.Fprintf(&b, "## %s\n\n| what has happened | class | `error_type` | counts an attempt | what `last_error` says, and what to do | provoked by |\n|---|---|---|---|---|---|\n", k.broker)
		for _, e := range k.errors {
			text := strings.ReplaceAll(e.Outcome.Err.Error(), "|", `\|`)
			fmt.Fprintf(&b, "| %s | %s | `%s` | %s | %s | `%s` |\n", e.Cause, e.Outcome.Class, e.Outcome.Type, e.Counts(), text, e.Test)
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestErrorTablesAreThoseOfTheCode(t *testing.T) {
	want := errorTables()
	if page := read(t, "docs/errors.md"); !strings.Contains(page, want) {
		t.Errorf("docs/errors.md has other tables; they should be:\n%s", want)
	}
}

// Each error that a sink can give is in the table, with a test that there is.
func TestEveryErrorOfASinkIsInItsTable(t *testing.T) {
	used := regexp.MustCompile(`relay\.ErrorType(\w+)`)
	for _, k := range knownErrors {
		var source, tests strings.Builder
		paths, err := filepath.Glob(filepath.Join(root, k.dir, "*.go"))
		if err != nil || len(paths) == 0 {
			t.Fatal(paths, err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(path, "_test.go") {
				tests.Write(text)
			} else {
				source.Write(text)
			}
		}
		for _, name := range used.FindAllStringSubmatch(source.String(), -1) {
			if !slices.ContainsFunc(k.errors, func(e relay.KnownError) bool {
				return strings.EqualFold(strings.ReplaceAll(string(e.Outcome.Type), "_", ""), name[1])
			}) {
				t.Errorf("%s gives errors of type %s, and its table has none", k.broker, name[1])
			}
		}
		for _, e := range k.errors {
			if name, _, _ := strings.Cut(e.Test, "/"); !strings.Contains(tests.String(), "func "+name+"(") {
				t.Errorf("%s: there is no test %s", e.Cause, e.Test)
			}
		}
	}
}
