package config

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/engine"
)

// check finds what types cannot say. A variable that is at fault already is not
// judged again.
func check(c Config, values map[string]string, known Faults) Faults {
	judge := &judge{values: values, known: known}
	judge.url(databaseURL, c.DatabaseURL, checkDatabaseURL)
	judge.url(sinkURL, c.SinkURL, checkSinkURL)
	judge.bounds(c)
	judge.address(c)
	judge.token(c)
	judge.nats(c)
	judge.credentials(c)
	judge.pairs(c)
	return judge.found
}

type judge struct {
	values map[string]string
	known  Faults
	found  Faults
}

// fault records a problem of a variable that was given and is not known to be
// at fault.
func (j *judge) fault(variable, problem string) {
	value, given := j.values[variable]
	if !given || j.known.blames(variable) {
		return
	}
	v, _ := lookup(variable)
	j.found = append(j.found, Fault{variable, v.show(value), problem})
}

// assigned is what a file for a shell or Docker holds where one for a _FILE
// variable holds the value alone. No URL and no key=value string begins so.
var assigned = regexp.MustCompile(`^\s*(#.*\n\s*)*(export\s+)?([A-Z][A-Z0-9]*_[A-Z0-9_]+\s*=|[A-Za-z_][A-Za-z0-9_]*\s*=\s*["']?[a-z+0-9]+://)`)

var errAssigned = errors.New("it begins with NAME=: expected the value alone, without a name and without quotes")

func (j *judge) url(variable string, url Secret, check func(string) error) {
	if url.IsZero() {
		return
	}
	if assigned.MatchString(url.Reveal()) {
		j.fault(variable, errAssigned.Error())
		return
	}
	if err := check(url.Reveal()); err != nil {
		j.fault(variable, err.Error())
	}
}

// bounds are wide: they keep out what cannot work (a poll interval that leaves
// PostgreSQL no rest, a buffer smaller than a message), not what is unwise.
func (j *judge) bounds(c Config) {
	within(j, "OUTBOX_POLL_INTERVAL", c.PollInterval, 10*time.Millisecond, time.Hour)
	within(j, "OUTBOX_RECONCILE_INTERVAL", c.ReconcileInterval, time.Second, time.Hour)
	within(j, "OUTBOX_COALESCE", c.Coalesce, 0, 100*time.Millisecond)
	within(j, "OUTBOX_MAX_WAL", c.MaxWAL, 16<<20, 16<<40)
	within(j, "OUTBOX_MAX_IN_FLIGHT", c.MaxInFlight, 1, 1_000_000)
	within(j, "OUTBOX_KEY_WINDOW", c.KeyWindow, 1, 1_000_000)
	within(j, "OUTBOX_BUFFER_BYTES", c.BufferBytes, 1<<20, 64<<30)
	within(j, "OUTBOX_MAX_MESSAGE_BYTES", c.MaxMessageBytes, 0, 1<<30)
	within(j, "OUTBOX_ACK_TIMEOUT", c.AckTimeout, time.Second, 10*time.Minute)
	within(j, "OUTBOX_MAX_ATTEMPTS", c.MaxAttempts, 1, 1_000_000)
	within(j, "OUTBOX_DEAD_AFTER", c.DeadAfter, 0, 10*365*24*time.Hour)
	within(j, "OUTBOX_RETRY_MIN", c.RetryMin, time.Millisecond, 24*time.Hour)
	within(j, "OUTBOX_RETRY_MAX", c.RetryMax, time.Millisecond, 30*24*time.Hour)
	if c.Retention != 0 {
		within(j, "OUTBOX_RETENTION", c.Retention, time.Second, 100*365*24*time.Hour)
	}
	if c.MaxDefer != 0 {
		within(j, "OUTBOX_MAX_DEFER", c.MaxDefer, time.Second, 10*365*24*time.Hour)
	}
	if c.RateLimit != 0 {
		within(j, "OUTBOX_RATE_LIMIT", c.RateLimit, 0.001, 1_000_000)
	}
	within(j, "OUTBOX_RATE_BURST", c.RateBurst, 0, 1_000_000)
	within(j, "OUTBOX_SHUTDOWN_GRACE", c.ShutdownGrace, 100*time.Millisecond, time.Hour)
}

func within[T cmp.Ordered](j *judge, variable string, value, least, most T) {
	if !(value >= least && value <= most) { //nolint:staticcheck // so that NaN is refused too
		j.fault(variable, fmt.Sprintf("expected %s to %s", brief(least), brief(most)))
	}
}

// brief prints a value, a duration without the zeros at its end: 1h, not 1h0m0s.
func brief(value any) string {
	s := fmt.Sprint(value)
	if _, ok := value.(time.Duration); !ok {
		return s
	}
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, zero) {
			s = s[:len(s)-2]
		}
	}
	return s
}

// address keeps out what could not be listened at. Names of hosts and ports are
// left to the resolver.
func (j *judge) address(c Config) {
	_, port, err := net.SplitHostPort(c.HTTPAddr)
	number, notNumber := strconv.ParseUint(port, 10, 16)
	if err != nil || notNumber != nil || number == 0 && port != "0" {
		j.fault("OUTBOX_HTTP_ADDR", "expected host:port, such as 127.0.0.1:9464, [::1]:9464 or :9464")
	}
}

// minToken is more than can be guessed over HTTP.
const minToken = 16

// CheckAdminToken keeps out what could not stand in the Authorization header, or be
// guessed. It is for the start, and for a token that was rotated meanwhile: a file of which
// half has been written holds a short one.
func CheckAdminToken(token string) error {
	switch {
	case assigned.MatchString(token):
		return errAssigned
	case len(token) < minToken:
		return fmt.Errorf("expected at least %d characters, such as openssl rand -hex 16 prints", minToken)
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return errors.New("expected letters, digits and punctuation of ASCII, without spaces, such as openssl rand -hex 16 prints")
	}
	return nil
}

func (j *judge) token(c Config) {
	if c.AdminToken.IsZero() {
		return
	}
	if err := CheckAdminToken(c.AdminToken.Reveal()); err != nil {
		j.fault("OUTBOX_ADMIN_TOKEN", err.Error())
	}
}

// nats keeps out names that the NATS client or server would refuse, later and
// without the name of the variable.
func (j *judge) nats(c Config) {
	if strings.ContainsAny(c.NATSStream, " \t\r\n.*>/\\") {
		j.fault("OUTBOX_NATS_STREAM", `expected a stream name: no spaces and none of . * > / \`)
	}
	if strings.ContainsAny(c.DeadLetterTopic, " \t\r\n*>#") {
		j.fault("OUTBOX_DEAD_LETTER_TOPIC", "expected one topic, such as dead.orders: no spaces and no wildcards")
	}
	if strings.ContainsAny(c.NATSDomain, " \t\r\n.*>") {
		j.fault("OUTBOX_NATS_DOMAIN", "expected a domain name: no spaces and none of . * >")
	}
	p := c.NATSInboxPrefix
	if strings.ContainsAny(p, " \t\r\n*>") || strings.HasPrefix(p, ".") || strings.HasSuffix(p, ".") || strings.Contains(p, "..") {
		j.fault("OUTBOX_NATS_INBOX_PREFIX", "expected a subject without wildcards, such as _INBOX_relay")
	}
}

// credentials allows one way to authenticate, because the client would choose
// between two without telling which.
func (j *judge) credentials(c Config) {
	var ways []string
	for _, way := range []struct {
		variable string
		used     bool
	}{
		{"OUTBOX_NATS_CREDS_FILE", c.NATSCredsFile != ""},
		{"OUTBOX_NATS_NKEY_FILE", c.NATSNKeyFile != ""},
		{"OUTBOX_NATS_TOKEN", !c.NATSToken.IsZero()},
	} {
		if way.used {
			ways = append(ways, way.variable)
		}
	}
	if token := c.NATSToken.Reveal(); strings.HasPrefix(token, "OUTBOX_NATS_TOKEN=") || strings.HasPrefix(token, "NATS_TOKEN=") {
		j.fault("OUTBOX_NATS_TOKEN", errAssigned.Error())
	}
	if hasCredentials(c.SinkURL.Reveal()) {
		ways = append(ways, "the user in "+sinkURL)
	}
	if len(ways) > 1 {
		j.fault(ways[0], "set together with "+strings.Join(ways[1:], " and ")+": keep one way to authenticate")
	}
}

// pairs judges variables that only make sense together.
func (j *judge) pairs(c Config) {
	if c.RetryMin > c.RetryMax && !j.known.blames("OUTBOX_RETRY_MIN") && !j.known.blames("OUTBOX_RETRY_MAX") {
		problem := fmt.Sprintf("expected OUTBOX_RETRY_MIN (%s) to be no longer than OUTBOX_RETRY_MAX (%s)", brief(c.RetryMin), brief(c.RetryMax))
		if _, given := j.values["OUTBOX_RETRY_MIN"]; given {
			j.fault("OUTBOX_RETRY_MIN", problem)
		} else {
			j.fault("OUTBOX_RETRY_MAX", problem)
		}
	}
	if c.DeadPolicy == DeadBlock && c.Ordering == engine.OrderNone {
		j.fault("OUTBOX_DEAD_POLICY", "needs OUTBOX_ORDERING=key: without an order there is nothing behind a dead row")
	}
	if c.TLSCertFile != "" && c.TLSKeyFile == "" {
		j.fault("OUTBOX_TLS_CERT_FILE", "needs OUTBOX_TLS_KEY_FILE, the key of the certificate")
	}
	if c.TLSKeyFile != "" && c.TLSCertFile == "" {
		j.fault("OUTBOX_TLS_KEY_FILE", "needs OUTBOX_TLS_CERT_FILE, the certificate of the key")
	}
}
