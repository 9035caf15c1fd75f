package deploytest

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// readYAML reads a file into v, which has to know all of its fields.
func readYAML(t *testing.T, path string, v any) {
	t.Helper()
	if err := yaml.UnmarshalStrict([]byte(readFile(t, path)), v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// readYAMLLoosely is readYAML for a file of which v knows a part.
func readYAMLLoosely(t *testing.T, path string, v any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(readFile(t, path)), v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

var closeGrace = regexp.MustCompile(`const \w+CloseGrace = (?:(\d+) \* )?time\.Second\n`)

// closing is what the relay may need to end after OUTBOX_SHUTDOWN_GRACE: the sum of the
// constants that bound what it closes.
func closing(t *testing.T) time.Duration {
	t.Helper()
	files, err := filepath.Glob(root + "/cmd/outbox-relay/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var sum time.Duration
	found := 0
	for _, file := range files {
		for _, c := range closeGrace.FindAllStringSubmatch(readFile(t, file), -1) {
			seconds := 1
			if c[1] != "" {
				if seconds, err = strconv.Atoi(c[1]); err != nil {
					t.Fatal(err)
				}
			}
			found++
			sum += time.Duration(seconds) * time.Second
		}
	}
	if found < 3 {
		t.Fatalf("found %d constants of cmd/outbox-relay that bound what it closes, want three at least", found)
	}
	return sum
}
