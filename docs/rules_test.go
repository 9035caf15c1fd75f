package docs_test

import (
	"cmp"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const rulesPage = "docs/rules.md"

// notBuilt marks a rule that has no test yet.
const notBuilt = "*Not built yet.*"

var (
	ruleHeading = regexp.MustCompile(`^### Rule ([A-Z]?[0-9]+): .`)
	mutantRow   = regexp.MustCompile("^\\| (.+) \\| `([^`]+)` \\|$")
	testName    = regexp.MustCompile("`(?:([a-z0-9]+)\\.)?((?:Test|Fuzz)[A-Z]\\w*)(?:/[^`]*)?`")
	ofARule     = regexp.MustCompile(`^([A-Z]?[0-9]+): `)
	// mention finds "rule 11", "Rules 12 and 15", "rules 1, 2 and F3".
	mention = regexp.MustCompile(`\b[Rr]ules? ([A-Z]?[0-9]+(?:(?:, | and |, and )[A-Z]?[0-9]+)*)\b`)
	ruleID  = regexp.MustCompile(`[A-Z]?[0-9]+`)
	// elsewhere finds pages that are not in the repository. A specification's
	// "section 3.2.2" is none.
	elsewhere = regexp.MustCompile(`\b[Ss]ection [0-9]+(?:[^.0-9]|\.[^0-9]|$)|\bDESIGN(?:\.md)?\b`)
)

// rule is one rule of the page.
type rule struct {
	id      string
	text    string
	mutants []mutant // of its table; without packages
}

// rules reads the page.
func rules(t *testing.T) []*rule {
	t.Helper()
	var all []*rule
	var current *rule
	for line := range strings.Lines(read(t, rulesPage)) {
		line = strings.TrimSuffix(line, "\n")
		if heading := ruleHeading.FindStringSubmatch(line); heading != nil {
			current = &rule{id: heading[1]}
			all = append(all, current)
		} else if strings.HasPrefix(line, "#") {
			current = nil
		}
		if current == nil {
			continue
		}
		current.text += line + "\n"
		if row := mutantRow.FindStringSubmatch(line); row != nil {
			current.mutants = append(current.mutants, mutant{rule: row[1], test: row[2]})
		}
	}
	return all
}

// TestRulesAreNumberedInOrder: each series of rules (1, 2, 3; T1, T2, T3) counts up from
// one without a gap, and stands in one place.
func TestRulesAreNumberedInOrder(t *testing.T) {
	count := map[string]int{} // of the rules of a series, by its letter
	last := ""
	for i, r := range rules(t) {
		series := strings.TrimRight(r.id, "0123456789")
		if i > 0 && series != last && count[series] > 0 {
			t.Errorf("%s has rule %s apart from the others of its series", rulesPage, r.id)
		}
		last = series
		count[series]++
		if want := series + strconv.Itoa(count[series]); r.id != want {
			t.Errorf("%s has rule %s where rule %s has its place", rulesPage, r.id, want)
		}
	}
}

// contentsRow is a line of the page's list of sections.
var contentsRow = regexp.MustCompile(`(?m)^\* \[([^]]+)\]\(#[^)]+\): rules? ([A-Z]?[0-9]+)(?: (?:to|and) ([A-Z]?[0-9]+))?\.`)

func TestContentsOfTheRulesNameEachSection(t *testing.T) {
	var want []string
	for section := range strings.SplitSeq(read(t, rulesPage), "\n## ") {
		var ids []string
		for line := range strings.Lines(section) {
			if heading := ruleHeading.FindStringSubmatch(line); heading != nil {
				ids = append(ids, heading[1])
			}
		}
		if name, _, _ := strings.Cut(section, "\n"); len(ids) > 0 {
			want = append(want, name+" "+ids[0]+" "+ids[len(ids)-1])
		}
	}
	var found []string
	for _, row := range contentsRow.FindAllStringSubmatch(read(t, rulesPage), -1) {
		found = append(found, row[1]+" "+row[2]+" "+cmp.Or(row[3], row[2]))
	}
	if !slices.Equal(found, want) {
		t.Errorf("%s lists its sections with these rules:\n%s\nand has these:\n%s", rulesPage, strings.Join(found, "\n"), strings.Join(want, "\n"))
	}
}

func TestEveryMutantIsInTheTableOfItsRule(t *testing.T) {
	shown := map[string]string{} // test by rule text
	inRule := map[string]string{}
	for _, r := range rules(t) {
		for _, m := range r.mutants {
			if _, twice := shown[m.rule]; twice {
				t.Errorf("%s has the mutant %q twice", rulesPage, m.rule)
			}
			shown[m.rule], inRule[m.rule] = m.test, r.id
		}
	}
	tests := testFunctions(t)
	for _, m := range mutants(t) {
		test, found := shown[m.rule]
		delete(shown, m.rule)
		if want := ofARule.FindStringSubmatch(m.rule); want != nil && found && want[1] != inRule[m.rule] {
			t.Errorf("the mutant %q stands in rule %s of %s", m.rule, inRule[m.rule], rulesPage)
		}
		if !found || test != m.test {
			t.Errorf("%s lacks a mutant: add this line to the table of its rule:\n| %s | `%s` |", rulesPage, m.rule, m.test)
		}
		if function, _, _ := strings.Cut(m.test, "/"); !slices.Contains(tests[function], m.pkg) {
			t.Errorf("the mutant %q names the test %s, which package %s does not have", m.rule, function, m.pkg)
		}
	}
	for text := range shown {
		t.Errorf("%s has a mutant %q that e2e/mutants does not have", rulesPage, text)
	}
}

func TestTestsNamedInTheDocsExist(t *testing.T) {
	tests := testFunctions(t)
	for _, page := range files(t, ".md") {
		for _, name := range testName.FindAllStringSubmatch(read(t, page), -1) {
			pkg, function := name[1], name[2]
			var in []string
			for _, dir := range tests[function] {
				if pkg == "" || path.Base(dir) == pkg {
					in = append(in, dir)
				}
			}
			switch {
			case len(in) == 0:
				t.Errorf("%s names %s, which does not exist; packages with a test of that name: %v", page, name[0], tests[function])
			case len(in) > 1 && !rowOfAMutant(t, function):
				t.Errorf("%s names %s, which exists in %v: write `package.%s`", page, name[0], in, function)
			}
		}
	}
}

// rowOfAMutant says whether a mutant names the test, whose package is then known.
func rowOfAMutant(t *testing.T, function string) bool {
	t.Helper()
	return slices.ContainsFunc(mutants(t), func(m mutant) bool { return m.test == function })
}

func TestEveryRuleHasATestOrSaysThatItHasNone(t *testing.T) {
	for _, r := range rules(t) {
		tested := testName.MatchString(r.text)
		if unbuilt := strings.Contains(r.text, notBuilt); tested == unbuilt {
			t.Errorf("rule %s of %s: names a test: %t, says %q: %t", r.id, rulesPage, tested, notBuilt, unbuilt)
		}
	}
}

func TestMentionedRulesExist(t *testing.T) {
	known := map[string]bool{}
	for _, r := range rules(t) {
		known[r.id] = true
	}
	for _, name := range files(t, ".go", ".md", ".sql", ".txt", ".yml") {
		if strings.HasPrefix(name, "docs/") && strings.HasSuffix(name, "_test.go") {
			continue // here the patterns themselves are spelled out
		}
		for n, line := range strings.Split(read(t, name), "\n") {
			for _, list := range mention.FindAllStringSubmatch(line, -1) {
				for _, id := range ruleID.FindAllString(list[1], -1) {
					if !known[id] {
						t.Errorf("%s:%d mentions rule %s, which %s does not have", name, n+1, id, rulesPage)
					}
				}
			}
			if found := elsewhere.FindString(line); found != "" {
				t.Errorf("%s:%d mentions %q, a page that is not in the repository: name a rule of %s", name, n+1, found, rulesPage)
			}
		}
	}
}
