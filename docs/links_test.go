package docs_test

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/schema"
)

var (
	link    = regexp.MustCompile(`\[[^\]]*\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	// notInSlug is what GitHub drops of a heading.
	notInSlug = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
)

// slug is the anchor that GitHub makes of a heading.
func slug(heading string) string {
	return strings.ReplaceAll(notInSlug.ReplaceAllString(strings.ToLower(heading), ""), " ", "-")
}

// prose is a page without its blocks of code.
func prose(t *testing.T, page string) string {
	t.Helper()
	return fence.ReplaceAllString(read(t, page), "")
}

// TestLinksLeadSomewhere follows every link between pages, and to files and
// headings. Links to other sites are not followed: a test needs no network.
func TestLinksLeadSomewhere(t *testing.T) {
	for _, page := range files(t, ".md") {
		for _, found := range link.FindAllStringSubmatch(prose(t, page), -1) {
			target := found[1]
			if strings.HasPrefix(target, "https://") {
				continue
			}
			name, anchor, hasAnchor := strings.Cut(target, "#")
			if name == "" {
				name = page
			} else {
				name = path.Join(path.Dir(page), name)
			}
			if _, err := os.Stat(filepath.Join(root, name)); err != nil {
				t.Errorf("%s links to %s: %v", page, target, err)
				continue
			}
			if hasAnchor && !slices.Contains(anchors(t, name), anchor) {
				t.Errorf("%s links to %s: %s has no such heading", page, target, name)
			}
		}
	}
}

func anchors(t *testing.T, page string) []string {
	t.Helper()
	var found []string
	for _, h := range heading.FindAllStringSubmatch(prose(t, page), -1) {
		found = append(found, slug(h[1]))
	}
	return found
}

// TestReadmeLinksEveryPage: a page that nobody links is not read.
func TestReadmeLinksEveryPage(t *testing.T) {
	readme := prose(t, "README.md")
	for _, page := range files(t, ".md") {
		if strings.HasPrefix(page, "docs/") && !strings.Contains(readme, "("+page) {
			t.Errorf("README.md does not link %s", page)
		}
	}
}

// TestReadmeStaysShort: what does not fit goes to the pages.
func TestReadmeStaysShort(t *testing.T) {
	const most = 95
	if n := strings.Count(read(t, "README.md"), "\n"); n > most {
		t.Errorf("README.md has %d lines, want %d at most", n, most)
	}
}

// TestReadmesTableIsTheMigrations compares each column of the README's short table
// with the migration.
func TestReadmesTableIsTheMigrations(t *testing.T) {
	table, err := schema.ParseTable("public.outbox")
	if err != nil {
		t.Fatal(err)
	}
	migration := words(schema.SQL(schema.Options{Table: table}))
	columns := 0
	for _, block := range fence.FindAllStringSubmatch(read(t, "README.md"), -1) {
		if block[1] != "sql" {
			continue
		}
		for line := range strings.Lines(block[2]) {
			column, _, _ := strings.Cut(line, "--")
			column = words(strings.TrimSuffix(strings.TrimSpace(column), ","))
			if column == "" || column == ");" || strings.HasPrefix(column, "CREATE TABLE") {
				continue
			}
			columns++
			if !strings.Contains(migration, column) {
				t.Errorf("README.md has the column %q, which the migration does not have", column)
			}
		}
	}
	if columns == 0 {
		t.Error("README.md shows no table")
	}
}

var variable = regexp.MustCompile(`\bOUTBOX_[A-Z_]*[A-Z]\b`)

// TestVariablesNamedInTheDocsExist compares the pages with the table of
// docs/configuration.md, which another test compares with the parser.
func TestVariablesNamedInTheDocsExist(t *testing.T) {
	known := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(OUTBOX_[A-Z_]+)`( \\\\\\*)?").FindAllStringSubmatch(read(t, "docs/configuration.md"), -1) {
		known[row[1]] = true
		if row[2] != "" {
			known[row[1]+"_FILE"] = true
		}
	}
	for _, page := range files(t, ".md") {
		for _, name := range variable.FindAllString(read(t, page), -1) {
			if !known[name] {
				t.Errorf("%s names the variable %s, which docs/configuration.md does not have", page, name)
			}
		}
	}
}

// words is a text with single spaces.
func words(s string) string { return strings.Join(strings.Fields(s), " ") }
