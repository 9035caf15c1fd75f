package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var metricName = regexp.MustCompile(`\boutbox_[a-z_]+`)

// rowsOfStalls are the rows of the tables below that heading of observability.md.
func rowsOfStalls(t *testing.T) (rows [][]string) {
	t.Helper()
	_, section, _ := strings.Cut(read(t, "docs/observability.md"), "## What a stall looks like\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for line := range strings.Lines(section) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "| ") || strings.HasSuffix(line, "| test |") {
			continue
		}
		rows = append(rows, strings.Split(strings.Trim(line, "| "), " | "))
	}
	return rows
}

// Each stall on the page has a test that makes it, a metric that is served and a line that
// the relay can log. (That the tests exist is TestTestsNamedInTheDocsExist; a part of a test
// is looked up here.)
func TestEachStallOfThePageIsTestedAndTold(t *testing.T) {
	rows, program, tests := rowsOfStalls(t), whatTheProgramSays(t), testFunctions(t)
	if len(rows) < 25 {
		t.Fatalf("%d rows: the tables were not read", len(rows))
	}
	served := read(t, "relay/telemetry/telemetry_test.go")
	for _, row := range rows {
		names := testName.FindAllString(row[len(row)-1], -1)
		if len(names) == 0 {
			t.Errorf("no test makes this: %s", row[0])
		}
		for _, name := range names {
			function, part, _ := strings.Cut(strings.Trim(name, "`"), "/")
			if part != "" && !hasPart(t, tests[function], strings.ReplaceAll(part, "_", " ")) {
				t.Errorf("%s has no part %q", function, part)
			}
		}
		for _, metric := range metricName.FindAllString(strings.Join(row, " "), -1) {
			if !strings.Contains(served, metric) {
				t.Errorf("no relay serves %s, of: %s", metric, row[0])
			}
		}
		if len(row) == 5 && !program.has(row[3]) {
			t.Errorf("the relay cannot log %q, of: %s", row[3], row[0])
		}
	}
}

// hasPart says whether a test of these packages has a part of that name.
func hasPart(t *testing.T, packages []string, name string) bool {
	t.Helper()
	for _, pkg := range packages {
		sources, err := filepath.Glob(filepath.Join(root, pkg, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, source := range sources {
			text, err := os.ReadFile(source)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(text), `"`+name+`"`) {
				return true
			}
		}
	}
	return false
}
