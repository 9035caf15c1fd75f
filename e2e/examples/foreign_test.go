package examples

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
)

// foreign are the languages whose packages "make examples" installs.
func foreign() []language {
	return []language{
		{
			name: "Node", fence: "js",
			main: func(program string) string { return program + ".mjs" },
			build: func(t *testing.T, dir *testbed.Dir, main string) []string {
				t.Helper()
				// Modules are looked for beside the program, and in no variable.
				if err := os.Symlink(installed(t, "node", "node_modules"), dir.Join("node_modules")); err != nil {
					t.Fatal(err)
				}
				return []string{"node", dir.Join(main)}
			},
		},
		{
			name: "Python", fence: "python",
			main:  func(program string) string { return program + ".py" },
			build: func(_ *testing.T, dir *testbed.Dir, main string) []string { return []string{"python3", dir.Join(main)} },
			env: func(t *testing.T) []string {
				return []string{"PYTHONPATH=" + installed(t, "python"), "PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1"}
			},
		},
		{
			name: "Java", fence: "java",
			main: func(program string) string { return camel(program) + ".java" },
			build: func(t *testing.T, dir *testbed.Dir, main string) []string {
				t.Helper()
				path := installed(t, "java") + "/*:" + dir.Path()
				compile(t, dir, "javac", "-cp", path, "-d", dir.Path(), "-sourcepath", dir.Path(), dir.Join(main))
				class := main[:len(main)-len(filepath.Ext(main))]
				return []string{"java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", path, class}
			},
		},
		{
			name: "Ruby", fence: "ruby",
			build: func(_ *testing.T, dir *testbed.Dir, main string) []string { return []string{"ruby", dir.Join(main)} },
		},
		{
			name: "PHP", fence: "php",
			build: func(_ *testing.T, dir *testbed.Dir, main string) []string { return []string{"php", dir.Join(main)} },
		},
	}
}

// installed is a directory that "make examples" fills.
func installed(t *testing.T, elem ...string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(append([]string{".cache"}, elem...)...))
	if err != nil {
		t.Fatal(err)
	}
	if !exists(path) {
		t.Fatalf("%s is missing: run make examples", path)
	}
	return path
}
