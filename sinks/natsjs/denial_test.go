package natsjs

import (
	"errors"
	"testing"

	"github.com/nats-io/nats.go"
)

func TestPublishViolationIsRead(t *testing.T) {
	for text, want := range map[string]string{
		`nats: permissions violation: Permissions Violation for Publish to "a.b"`:       "a.b",
		`nats: permissions violation: Permissions Violation for Publish to "a.\"b\" c"`: `a."b" c`,
		`nats: permissions violation: Permissions Violation for Publish to "a`:          "",
		`nats: permissions violation: Permissions Violation for Subscription to "a"`:    "",
	} {
		got, ok := publishViolation(violation(text))
		if got != want || ok != (want != "") {
			t.Errorf("%s: subject is %q %v, want %q", text, got, ok, want)
		}
	}
	if _, ok := publishViolation(errors.New(`Permissions Violation for Publish to "a"`)); ok {
		t.Error("another error is taken for a violation")
	}
	for subject, want := range map[string]string{"$JS.API.INFO": "INFO", "$JS.hub.API.STREAM.NAMES": "STREAM.NAMES", "API.INFO": "", "$JS.ACK.x": ""} {
		if got, _ := apiOperation(subject); got != want {
			t.Errorf("operation of %s is %q, want %q", subject, got, want)
		}
	}
}

// violation is an error as the client library makes it.
type violation string

func (v violation) Error() string { return string(v) }
func (violation) Unwrap() error   { return nats.ErrPermissionViolation }
