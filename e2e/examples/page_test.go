package examples

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// program is a block of a page whose info string is a language and a file's name.
var program = regexp.MustCompile("(?ms)^```([a-z]+) ([A-Za-z_]+\\.[a-z]+)\n(.*?)^```$")

// page is a page of docs by the languages of its programs: each file's name and text.
type page map[string]map[string]string

func readPage(t *testing.T, name string) page {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	p := page{}
	for _, found := range program.FindAllStringSubmatch(string(text), -1) {
		language, file, body := found[1], found[2], found[3]
		if p[language] == nil {
			p[language] = map[string]string{}
		}
		if _, twice := p[language][file]; twice {
			t.Fatalf("%s has the file %s twice", name, file)
		}
		p[language][file] = body
	}
	return p
}

// write puts the files of a language into a directory.
func (p page) write(t *testing.T, language, dir string) {
	t.Helper()
	for name, text := range p[language] {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestEveryLanguageOfThePagesIsRun: what is not run may be wrong.
func TestEveryLanguageOfThePagesIsRun(t *testing.T) {
	known := []string{"sql"}
	for _, l := range append(languages(), foreign()...) {
		known = append(known, l.fence)
	}
	for _, name := range []string{"consuming.md", "writing.md"} {
		for fence, files := range readPage(t, name) {
			if !slices.Contains(known, fence) {
				t.Errorf("%s has programs in %s, which nobody runs: %v", name, fence, slices.Sorted(maps.Keys(files)))
			}
		}
	}
}
