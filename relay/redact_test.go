package relay

import (
	"strings"
	"testing"
)

func TestValuesOfHeadersAreHiddenByTheirNames(t *testing.T) {
	redacted, err := ParseRedacted(" Authorization, *token*,x-***-key ")
	if err != nil {
		t.Fatal(err)
	}
	for name, hides := range map[string]bool{
		"authorization": true, "AUTHORIZATION": true, "authorization2": false, "proxy-authorization": false,
		"token": true, "X-Auth.Token.2": true, "x-a.b-key": true, "x-key": false, "": false, "tenant": false,
	} {
		want := "v"
		if hides {
			want = hidden
		}
		if got := redacted.Show(Header{Name: name, Value: "v"}); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := Redacted("").Show(Header{Name: "tenant", Value: "v"}); got != hidden {
		t.Errorf("the zero value shows %q", got)
	}
	if got := redacted.Show(Header{Name: "tenant", Value: "a\x1b[2J\nb" + strings.Repeat("é", 1000)}); len(got) > maxShown+len(hidden) || strings.ContainsAny(got, "\x1b\n") {
		t.Errorf("shown as %q", got)
	}
	for _, text := range []string{"", "a,,b", " "} {
		if got, err := ParseRedacted(text); err == nil {
			t.Errorf("%q is taken for %q", text, got)
		}
	}
}
