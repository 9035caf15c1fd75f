package natsjs

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestAddressesOfDiscoveredServersGetTheCredentials(t *testing.T) {
	as, err := parseAddresses("nats://u:p%2C@a, b:1,tls://t@c")
	if err != nil {
		t.Fatal(err)
	}
	made := make(discovered)
	for _, text := range []string{"nats://a:4222", "nats://d:4222", "nats://d:4222", "://"} {
		made.add(text, "a")
	}
	var got []string
	for _, s := range as.servers(made) {
		got = append(got, s.url)
	}
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

func TestDiscoveredAddressIsVerifiedByTheNameOfTheServerThatMadeItKnown(t *testing.T) {
	got := make(discovered)
	got.add("tls://10.0.0.1:4222", "nats.example.com")
	got.add("tls://10.0.0.1:4222", "other.example.com") // it stays as it was
	got.add("tls://[::1]:4222", "nats.example.com")
	got.add("tls://10.0.0.2:4222", "10.0.0.1")
	got.add("tls://b.example.com:4222", "nats.example.com")
	want := discovered{
		"tls://10.0.0.1:4222": "nats.example.com", "tls://[::1]:4222": "nats.example.com",
		"tls://10.0.0.2:4222": "", "tls://b.example.com:4222": "",
	}
	if !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestServersThatAreNotToldAnyMoreAreForgotten(t *testing.T) {
	var d discovered
	d = d.next(server{url: "tls://u:p@nats.example.com:4222"}, []string{"tls://10.0.0.1:4222", "tls://10.0.0.2:4222"})
	d = d.next(server{url: "tls://u:p@10.0.0.1:4222", name: "nats.example.com"}, []string{"tls://10.0.0.3:4222"})
	d = d.next(server{url: "tls://10.0.0.9:4222"}, nil) // it tells nothing, and proves nothing
	want := discovered{"tls://10.0.0.1:4222": "nats.example.com", "tls://10.0.0.3:4222": "nats.example.com"}
	if !maps.Equal(d, want) {
		t.Errorf("%v, want %v", d, want)
	}
}
