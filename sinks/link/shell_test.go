package link

import (
	"os/exec"
	"testing"
)

func TestShellReadsBackWhatWasQuoted(t *testing.T) {
	for _, text := range []string{"", "orders", "it's", "''", `$HOME "x" \ ; *`, "a\nb"} {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", "printf %s "+ShellQuote(text)).Output()
		if err != nil || string(out) != text {
			t.Errorf("%q is read as %q (%v)", text, out, err)
		}
	}
}
