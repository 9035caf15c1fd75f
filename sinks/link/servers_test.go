package link

import (
	"strings"
	"testing"
)

var schemes = []Scheme{{"plain", "1111"}, {"safe", "2222"}}

func TestServersHaveSchemeAndPort(t *testing.T) {
	for list, want := range map[string]string{
		"a":                              "plain://a:1111",
		"plain://a:":                     "plain://a:1111",
		"safe://u:p@a, b:1 ,, plain://c": "safe://u:p@a:2222 safe://b:1 plain://c:1111",
		"plain://[::1],[::2]:3":          "plain://[::1]:1111 plain://[::2]:3",
		"plain://a/%2F":                  "plain://a:1111/%2F",
	} {
		servers, err := ParseServers(list, schemes...)
		if err != nil {
			t.Errorf("%s: %v", list, err)
			continue
		}
		var got []string
		for _, u := range servers {
			got = append(got, u.String())
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("%s is read as %s, want %s", list, text, want)
		}
	}
}

func TestBadServersAreToldWithoutCredentials(t *testing.T) {
	for list, want := range map[string]string{
		"":                                 "no server given: want plain://host:port",
		" , ":                              "no server given",
		"other://secret@h":                 `server 1 of the list: scheme is "other", want plain or safe`,
		"plain://a,other://u:secret@h":     `server 2 of the list: scheme is "other"`,
		"safe://u:secret@:1":               "server 1 of the list: no host name: want safe://host:port",
		"plain://u:sec/ret@h":              "percent-encode",
		"plain://u:secret%ret@h:1":         "percent-encode",
		"plain://h:1,plain://u:x@h:secret": "server 2 of the list is not a URL: invalid port (percent-encode",
	} {
		_, err := ParseServers(list, schemes...)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error is %v, want %q in it", list, err, want)
			continue
		}
		if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "ret@") {
			t.Errorf("the error shows a secret: %v", err)
		}
	}
}

func TestServersAreShownWithoutCredentials(t *testing.T) {
	servers, err := ParseServers("plain://u:secret@a,token@b:1", schemes...)
	if err != nil {
		t.Fatal(err)
	}
	if got := servers.String(); got != "a:1111, b:1" {
		t.Errorf("shown are %s", got)
	}
}
