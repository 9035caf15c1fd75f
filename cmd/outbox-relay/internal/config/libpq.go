package config

import (
	"slices"
	"strings"
)

// unsupported are variables of libpq that the driver does not know. Most are about the
// connection's security. The driver would ignore them without a word.
var unsupported = []struct {
	name    string
	nothing []string // values that ask for nothing
	fix     string
}{
	{"PGHOSTADDR", nil, "give the address as host in OUTBOX_DATABASE_URL"},
	{"PGREQUIRESSL", []string{"0"}, "give OUTBOX_DATABASE_URL the parameter sslmode=require"},
	{"PGSSLCRL", nil, "unset it"},
	{"PGSSLCRLDIR", nil, "unset it"},
	{"PGREQUIREPEER", nil, "give OUTBOX_DATABASE_URL the parameter sslmode=verify-full"},
	{"PGGSSENCMODE", []string{"disable", "prefer"}, "give OUTBOX_DATABASE_URL the parameter sslmode=verify-full"},
	{"PGSSLMINPROTOCOLVERSION", nil, "give OUTBOX_DATABASE_URL the parameter ssl_min_protocol_version"},
	{"PGSSLMAXPROTOCOLVERSION", nil, "give OUTBOX_DATABASE_URL the parameter ssl_max_protocol_version"},
}

// checkLibpq finds those that are set. Their values are not shown: a driver's
// variables are not ours to know.
func checkLibpq(environ []string) Faults {
	var faults Faults
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		for _, v := range unsupported {
			if v.name == name && value != "" && !slices.Contains(v.nothing, value) {
				faults = append(faults, Fault{Variable: name, Problem: "the relay does not support this variable of libpq: " + v.fix})
			}
		}
	}
	return faults
}
