package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// root is the module's directory, seen from this package's tests.
const root = ".."

// files lists the module's files with one of these endings, relative to its root,
// with slashes. What is built or hidden is left out.
func files(t *testing.T, endings ...string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); path != root && (name[0] == '.' || name == "bin" || name == "node_modules") {
				return fs.SkipDir
			}
			return nil
		}
		if slices.Contains(endings, filepath.Ext(path)) {
			rel, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			found = append(found, filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		t.Fatalf("list the module's files: %v", err)
	}
	return found
}

// read returns a file of the module.
func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// parse parses a Go file of the module, whatever its build tags.
func parse(t *testing.T, name string) *ast.File {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, name), nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatalf("parse %s: %v", name, err)
	}
	return file
}

// testFunctions maps the name of each test and fuzz target to the directories of
// the packages that have it.
func testFunctions(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	for _, name := range files(t, ".go") {
		if !strings.HasSuffix(name, "_test.go") {
			continue
		}
		for _, decl := range parse(t, name).Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && isTest(f.Name.Name) {
				found[f.Name.Name] = append(found[f.Name.Name], filepath.ToSlash(filepath.Dir(name)))
			}
		}
	}
	return found
}

func isTest(name string) bool {
	return strings.HasPrefix(name, "Test") || strings.HasPrefix(name, "Fuzz")
}

// mutant is what the page tells of a mutant.
type mutant struct {
	rule string // the sentence that names it
	test string // that fails, subtest included
	pkg  string // of the test: a directory below the root
}

// mutants lists those of e2e/mutants, in the order of the source. They are read,
// not imported: the package has a build tag and belongs to its own tests.
func mutants(t *testing.T) []mutant {
	t.Helper()
	var found []mutant
	for _, name := range files(t, ".go") {
		if !strings.HasPrefix(name, "e2e/mutants/") {
			continue
		}
		ast.Inspect(parse(t, name), func(n ast.Node) bool {
			if lit, ok := n.(*ast.CompositeLit); ok {
				if m := (mutant{field(lit, "rule"), field(lit, "test"), strings.TrimPrefix(field(lit, "pkg"), "./")}); m.rule != "" {
					found = append(found, m)
				}
			}
			return true
		})
	}
	if len(found) < 100 {
		t.Fatalf("found only %d mutants in e2e/mutants: has their form changed?", len(found))
	}
	return found
}

// field is the value of a composite literal's field that is a string literal.
func field(lit *ast.CompositeLit, name string) string {
	for _, element := range lit.Elts {
		pair, ok := element.(*ast.KeyValueExpr)
		if !ok {
			continue
		}
		key, isName := pair.Key.(*ast.Ident)
		value, isLiteral := pair.Value.(*ast.BasicLit)
		if isName && isLiteral && key.Name == name {
			text, err := strconv.Unquote(value.Value)
			if err != nil {
				continue // not a string
			}
			return text
		}
	}
	return ""
}
