package config

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestPageHasTheSameTable keeps docs/configuration.md true. To fix it, paste the
// table that the failure prints.
func TestPageHasTheSameTable(t *testing.T) {
	page, err := os.ReadFile("../../../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	want.WriteString("| variable | default | meaning |\n|---|---|---|\n")
	for _, v := range Table() {
		fmt.Fprintf(&want, "| `%s`%s | %s | %s |\n", v.Name, starred(v), shownDefault(v), v.Description)
	}
	if _, rest, _ := strings.Cut(string(page), "| variable |"); !strings.HasPrefix("| variable |"+rest, want.String()+"\n") {
		t.Errorf("docs/configuration.md has another table of variables; it should be:\n%s", want.String())
	}
}

// starred marks the variables that have a _FILE form.
func starred(v Variable) string {
	if v.Secret {
		return " \\*"
	}
	return ""
}

// shownDefault quotes values; what only describes the default stays plain.
func shownDefault(v Variable) string {
	if v.Default == "" || v.Default == "required" || strings.HasPrefix(v.Default, "the ") {
		return v.Default
	}
	return "`" + v.Default + "`"
}
