package main

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWrongFlagsEndWithStatusTwoAndAReason(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"-clicks 10", "-clicks 10 is too small"},
		{"-rate 0", "at least 1 click per second"},
		{"twenty", `unexpected argument "twenty"`},
		{"-bogus", "flag provided but not defined"},
	} {
		var stderr bytes.Buffer
		status := run(t.Context(), strings.Fields(tt.args), io.Discard, &stderr)
		if status != 2 || !strings.Contains(stderr.String(), tt.want) {
			t.Errorf("%s: status %d, %q; want 2 and %q", tt.args, status, stderr.String(), tt.want)
		}
	}
}

func TestMissingRelayBinaryIsNamed(t *testing.T) {
	var stderr bytes.Buffer
	status := run(t.Context(), []string{"-relay", "/nonexistent/outbox-relay"}, io.Discard, &stderr)
	if want := "/nonexistent/outbox-relay"; status != 1 || !strings.Contains(stderr.String(), want) {
		t.Errorf("status %d, %q; want 1 and the name %s", status, stderr.String(), want)
	}
}
