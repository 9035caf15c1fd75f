package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
)

// A token's file is read at each request: half of one that is being written, or one that
// somebody has chosen by hand, must not be what may discard rows.
func TestRotatedAdminTokenIsHeldToTheSameRules(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("the-first-one-of-them\n")
	c, err := config.Load([]string{"OUTBOX_DATABASE_URL=postgres://db/shop", "OUTBOX_SINK_URL=nats://broker", "OUTBOX_ADMIN_TOKEN_FILE=" + file})
	if err != nil {
		t.Fatal(err)
	}
	read := readAdminToken(c.AdminToken)
	for text, want := range map[string]string{"zq": "at least 16", "a token with spaces in it": "without spaces", "OUTBOX_ADMIN_TOKEN=the-next-one-of-them": "NAME="} {
		write(text)
		if got, err := read(); err == nil || got != "" || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), text) {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	write("the-next-one-of-them\n")
	if got, err := read(); err != nil || got != "the-next-one-of-them" {
		t.Errorf("%q, %v", got, err)
	}
}
