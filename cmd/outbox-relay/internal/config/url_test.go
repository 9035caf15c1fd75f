package config

import (
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// The two halves of a password, around a piece that the fuzzer chooses. The
// first could be taken for a port.
const (
	firstHalf  = "7134"
	secondHalf = "8246xyz"
)

// FuzzPasswordStaysInsideTheURL puts any text into the midst of a password. The
// URL may be accepted or not, but no half of the password may turn up in the
// error, nor as a host, port or database name, which connection errors print.
func FuzzPasswordStaysInsideTheURL(f *testing.F) {
	for _, middle := range []string{"", "/", "@", "?", "#", ":", "%", "%zz", ",", " ", "'", "\\", "\v", "&", "?user=/", "?x=y&", "\x00", "[", "://", "@,:"} {
		f.Add(middle)
	}
	f.Fuzz(func(t *testing.T, middle string) {
		password := firstHalf + middle + secondHalf
		for _, format := range []string{
			"postgres://relay:PASSWORD@db/app",
			"postgresql://relay:PASSWORD@a,b:5432/app?sslmode=perhaps",
			"postgres://db:port/app?user=relay&password=PASSWORD",
			"host=db user=relay password=PASSWORD port=5432",
			"host=db user=relay password='PASSWORD' port=port",
		} {
			keepsDatabaseSecret(t, strings.Replace(format, "PASSWORD", password, 1), middle)
		}
		for _, format := range []string{"nats://relay:PASSWORD@broker:4222", "tls://relay:PASSWORD@a,relay:PASSWORD@b", "amqp://relay:PASSWORD@a:5672/app"} {
			keepsSinkSecret(t, strings.ReplaceAll(format, "PASSWORD", password))
		}
	})
}

func keepsDatabaseSecret(t *testing.T, url, middle string) {
	t.Helper()
	if err := checkDatabaseURL(url); err != nil {
		hidesHalves(t, url, "error", err.Error())
		return
	}
	if strings.ContainsAny(middle, "=@") {
		return // such text is syntax: it may well name another host, in all honesty
	}
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatalf("%q was accepted, but the driver refuses it: %v", url, err)
	}
	hidesHalves(t, url, "host", config.Host)
	hidesHalves(t, url, "database", config.Database)
	if config.Port == 7134 {
		t.Errorf("%q: half of the password became the port", url)
	}
}

func keepsSinkSecret(t *testing.T, list string) {
	t.Helper()
	if err := checkSinkURL(list); err != nil {
		hidesHalves(t, list, "error", err.Error())
		return
	}
	for server := range strings.SplitSeq(list, ",") {
		_, host, found := strings.Cut(server, "://")
		if !found {
			host = server
		}
		u, err := url.Parse("nats://" + strings.TrimSpace(host))
		if err != nil {
			t.Fatalf("%q was accepted, but %q does not parse", list, server)
		}
		hidesHalves(t, list, "host", u.Host)
	}
}

func hidesHalves(t *testing.T, url, what, text string) {
	t.Helper()
	if strings.Contains(text, firstHalf) || strings.Contains(text, secondHalf) {
		t.Errorf("%q: half of the password became the %s %q", url, what, text)
	}
}
