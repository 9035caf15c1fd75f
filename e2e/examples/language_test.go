package examples

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
)

// language is how the programs of one are made and run.
type language struct {
	name  string
	fence string // the first word of its blocks' info strings
	// main is the file of the program with that name, such as consume_nats; nil: there are
	// only programs that write.
	main func(program string) string
	// build makes the program in dir, which has the page's files, and returns its command.
	build func(t *testing.T, dir *testbed.Dir, main string) []string
	// env is what its programs need beside the servers' addresses.
	env func(t *testing.T) []string
}

// languages are those that this run has: Go, and with the build tag examples all others.
func languages() []language { return append([]language{golang}, tagged()...) }

var golang = language{
	name: "Go", fence: "go",
	main: func(program string) string { return program + ".go" },
	build: func(t *testing.T, dir *testbed.Dir, main string) []string {
		t.Helper()
		args := []string{"build", "-o", dir.Join("program")}
		// Each page has one file that all of its programs share, or none.
		if shared := dir.Join("effect.go"); exists(shared) {
			args = append(args, shared)
		}
		compile(t, dir, "go", append(args, dir.Join(main))...)
		return []string{dir.Join("program")}
	},
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// compile runs a compiler in the directory of the tests, where Go finds the modules.
func compile(t *testing.T, dir *testbed.Dir, name string, args ...string) {
	t.Helper()
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(name, args...)
	cmd.Dir = here
	if err := dir.Run(t.Context(), cmd); err != nil {
		t.Fatal(err)
	}
}

// camel is the name that a class has: ConsumeNats for consume_nats.
func camel(program string) string {
	var name strings.Builder
	for word := range strings.SplitSeq(program, "_") {
		name.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return name.String()
}
