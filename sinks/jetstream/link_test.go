package jetstream

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
)

func TestPausesGrowAndStayBounded(t *testing.T) {
	for failures := range 100 {
		for range 20 {
			d := pause(failures)
			if d < pauseMin/2 || d > pauseMax || failures > 10 && d < pauseMax/2 {
				t.Fatalf("pause after %d failures is %s", failures+1, d)
			}
		}
	}
}

func TestRepeatedFailureIsLoggedAtGrowingIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := linkLog{log: slog.New(slog.NewTextHandler(&out, nil))}
		begin := time.Now()
		var at []time.Duration
		for time.Since(begin) < time.Hour {
			before := out.Len()
			l.failed(errors.New("refused"))
			if out.Len() > before {
				at = append(at, time.Since(begin).Round(time.Second))
			}
			time.Sleep(time.Second)
		}
		want := []time.Duration{0, 10 * time.Second, 30 * time.Second, 70 * time.Second, 150 * time.Second}
		if len(at) < 8 || len(at) > 14 || !slices.Equal(at[:5], want) {
			t.Errorf("logged at %v, want %v and so on", at, want)
		}
		out.Reset()
		l.connected("h:1", "s", "v")
		if !strings.Contains(out.String(), "after=1h") {
			t.Errorf("the recovery is logged as %s", out.String())
		}
	})
}

func TestAddressesOfDiscoveredServersGetTheCredentials(t *testing.T) {
	as, err := parseAddresses("nats://u:p%2C@a, b:1,tls://t@c")
	if err != nil {
		t.Fatal(err)
	}
	got := as.urls([]string{"nats://a:4222", "nats://d:4222", "nats://d:4222", "://"})
	want := []string{"nats://u:p%2C@a:4222", "nats://b:1", "tls://t@c:4222", "nats://u:p%2C@d:4222"}
	for i := range want {
		// url.String chooses its own escapes; what counts is what is read back.
		want[i] = strings.ReplaceAll(want[i], "%2C", ",")
	}
	if !slices.Equal(got, want) {
		t.Errorf("servers are %q, want %q", got, want)
	}
	if s := as.String(); s != "a:4222, b:1, c:4222" {
		t.Errorf("shown are %q", s)
	}
}

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
