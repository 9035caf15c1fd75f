package testbed_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
)

func TestTailIsTheEndOfALog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	var text strings.Builder
	for i := range 1000 {
		text.WriteString("line " + strconv.Itoa(i) + "\n")
	}
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	tail := testbed.Tail(path)
	if !strings.HasPrefix(tail, "line ") || !strings.HasSuffix(tail, "line 999") || len(tail) > 4096 {
		t.Errorf("tail of %d bytes: %q", len(tail), tail)
	}
}
