package rabbitmq

import (
	"strconv"
	"strings"
	"testing"
)

// FuzzErlangBinary reads the term back as Erlang does, in the two forms that are
// used, and demands that it is one binary and no more.
func FuzzErlangBinary(f *testing.F) {
	for _, text := range []string{"", "orders", `x">>), os:cmd("reboot"), (<<"`, `a\`, "a\nb", "\x00", "é", "\xff", "~p", "'", "%"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		term := erlangBinary(text)
		inside, found := strings.CutPrefix(term, "<<")
		inside, closed := strings.CutSuffix(inside, ">>")
		if !found || !closed {
			t.Fatalf("%q becomes %s", text, term)
		}
		var read string
		if strings.HasPrefix(inside, `"`) {
			read = strings.TrimSuffix(inside[1:], `"`)
			if len(read) != len(inside)-2 || strings.ContainsAny(read, "\"\\'\n") {
				t.Fatalf("%q becomes %s", text, term)
			}
		} else {
			var bytes []byte
			for number := range strings.SplitSeq(inside, ",") {
				n, err := strconv.ParseUint(number, 10, 8)
				if err != nil {
					t.Fatalf("%q becomes %s", text, term)
				}
				bytes = append(bytes, byte(n))
			}
			read = string(bytes)
		}
		if read != text {
			t.Errorf("%q becomes %s, which is %q", text, term, read)
		}
	})
}
