package config

import (
	"slices"
	"strings"
	"testing"
)

// serviceLinks are what Kubernetes injects for a Service with a plain and a
// named port, as its documentation of service discovery lists them.
func serviceLinks(service string) []string {
	links := []string{
		"_SERVICE_HOST=10.0.0.11", "_SERVICE_PORT=9464", "_SERVICE_PORT_HTTP=9464", "_SERVICE_PORT_HTTP_ADMIN=9465",
		"_PORT=tcp://10.0.0.11:9464", "_PORT_9464_TCP=tcp://10.0.0.11:9464", "_PORT_9464_TCP_PROTO=tcp",
		"_PORT_9464_TCP_PORT=9464", "_PORT_9464_TCP_ADDR=10.0.0.11", "_PORT_53_UDP=udp://10.0.0.11:53",
	}
	for i, link := range links {
		links[i] = service + link
	}
	return links
}

func TestKubernetesServiceLinksAreIgnored(t *testing.T) {
	for _, service := range []string{"OUTBOX_RELAY", "OUTBOX", "OUTBOX_RELAY_METRICS", "OUTBOX_TABLE"} {
		t.Run(service, func(t *testing.T) {
			got := mustLoad(t, serviceLinks(service)...)
			if want := mustLoad(t); withoutURLs(got) != withoutURLs(want) {
				t.Errorf("links changed the configuration to %+v", got)
			}
		})
	}
}

func TestWhatOnlyLooksLikeAServiceLinkIsUnknown(t *testing.T) {
	for _, name := range []string{"OUTBOX_RELAY_PORT", "OUTBOX_HTTP_PORT", "OUTBOX_RELAY_SERVICE_PORT", "OUTBOX_RELAY_PORT_9464_TCP"} {
		isUnknown(t, name, []string{name + "=1"})
	}
	for _, name := range []string{"OUTBOX_RELAY_SERVICE", "OUTBOX_RELAY_PORT_X_TCP", "OUTBOX_RELAY_PORT_9464_TCP_HOST", "OUTBOX_RELAYS_PORT"} {
		isUnknown(t, name, append(serviceLinks("OUTBOX_RELAY"), name+"=1"))
	}
}

// isUnknown demands that a name, and no other, is of another version.
func isUnknown(t *testing.T, name string, environ []string) {
	t.Helper()
	if got := Unknown(environ); !slices.Equal(got, []string{name}) {
		t.Errorf("unknown: %q, want %s", got, name)
	}
}

func TestOtherVariablesAreNoneOfOurBusiness(t *testing.T) {
	mustLoad(t, "PATH=/bin", "OUTBOXER=1", "outbox_table=x", "MY_OUTBOX_TABLE=x", "=C:=C:\\", "OUTBOX_WITHOUT_A_VALUE")
}

func TestMisspelledNamesGetASuggestion(t *testing.T) {
	for name, want := range map[string]string{
		"OUTBOX_SNIK_URL":         "did you mean OUTBOX_SINK_URL?",
		"OUTBOX_DATABASE":         "did you mean OUTBOX_DATABASE_URL?",
		"OUTBOX_DATABSE_URL_FILE": "did you mean OUTBOX_DATABASE_URL_FILE?",
		"OUTBOX_MAX_INFLIGHT":     "did you mean OUTBOX_MAX_IN_FLIGHT?",
		"OUTBOX_NATS_TOKENS":      "did you mean OUTBOX_NATS_TOKEN?",
		"OUTBOX_TABLE_FILE":       "set OUTBOX_TABLE",
	} {
		_, err := Load(append([]string{name + "=" + secret}, minimal...))
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: error is %v, want it to end with %q", name, err, want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"", "ab", 2}, {"ab", "ba", 1}, {"sink", "snik", 1}, {"poll", "pool", 1}, {"kitten", "sitting", 3}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
		if got := distance(c.b, c.a); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.b, c.a, got, c.want)
		}
	}
}

// A rollback starts beside a newer deployment's environment. A name that resembles one of
// ours is a mistake.
func TestVariableOfAnotherVersionIsNoFault(t *testing.T) {
	environ := append(slices.Clone(minimal), "OUTBOX_SHARD_COUNT=4", "OUTBOX_COFFEE=hunter2", "OUTBOX_EMPTY_IS_NOT_SET=", "HOME=/root")
	if _, err := Load(environ); err != nil {
		t.Error(err)
	}
	if got, want := Unknown(environ), []string{"OUTBOX_COFFEE", "OUTBOX_SHARD_COUNT"}; !slices.Equal(got, want) {
		t.Errorf("unknown: %q, want %q", got, want)
	}
	if _, err := Load(append(environ, "OUTBOX_POLLINTERVAL=1s")); err == nil {
		t.Error("a misspelled variable was accepted")
	}
}
