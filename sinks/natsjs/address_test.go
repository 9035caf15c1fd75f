package natsjs

import (
	"slices"
	"strings"
	"testing"
)

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
