package postgres

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// KeywordError says which parameters of a URL are not supported, and what to
// write instead. It holds no secret.
type KeywordError struct{ reason string }

func (e *KeywordError) Error() string { return e.reason }

// keyword is a connection parameter that libpq knows and pgx does not. pgx takes it for
// a setting of the session and sends it to the server, which refuses the connection.
type keyword struct {
	// ignored are the values that change nothing for the relay; nil: all of them.
	ignored []string
	fix     string // for other values
}

const (
	leaveOut       = "leave it out"
	givePassword   = "give a password or a certificate"
	encryptWithTLS = "use sslmode=verify-full"
)

// foreign are libpq's keywords of versions 9 to 18. Most of those that are not
// ignored are about the connection's safety: to forget them would be worse than
// to refuse them.
var foreign = map[string]keyword{
	// The relay has keepalives, a name and an encoding of its own, and tries the
	// hosts in their order.
	"keepalives": {}, "keepalives_idle": {}, "keepalives_interval": {}, "keepalives_count": {}, "tcp_user_timeout": {},
	"fallback_application_name": {}, "client_encoding": {}, "load_balance_hosts": {}, "sslcompression": {}, "gsslib": {},

	// Without Kerberos, prefer encrypts nothing.
	"gssencmode":    {ignored: []string{"", "disable", "prefer"}, fix: encryptWithTLS},
	"gssdelegation": {ignored: []string{"", "0"}, fix: leaveOut},

	"hostaddr":            {ignored: []string{""}, fix: "give the address as host"},
	"requiressl":          {ignored: []string{"", "0"}, fix: "use sslmode=require"},
	"sslcrl":              {ignored: []string{""}, fix: leaveOut},
	"sslcrldir":           {ignored: []string{""}, fix: leaveOut},
	"sslkeylogfile":       {ignored: []string{""}, fix: leaveOut},
	"requirepeer":         {ignored: []string{""}, fix: encryptWithTLS},
	"scram_client_key":    {ignored: []string{""}, fix: givePassword},
	"scram_server_key":    {ignored: []string{""}, fix: givePassword},
	"oauth_issuer":        {ignored: []string{""}, fix: givePassword},
	"oauth_client_id":     {ignored: []string{""}, fix: givePassword},
	"oauth_client_secret": {ignored: []string{""}, fix: givePassword},
	"oauth_scope":         {ignored: []string{""}, fix: givePassword},
	"replication":         {ignored: []string{"", "off", "false", "no", "0"}, fix: "leave it out: the relay opens such a session itself"},
}

// adapt changes a configuration that pgx has read so that it means what it means to
// libpq. The error is a [KeywordError].
func adapt(config *pgconn.Config) error {
	var faults []string
	for name, k := range foreign {
		value, given := config.RuntimeParams[name]
		if given && k.ignored != nil && !slices.Contains(k.ignored, value) {
			faults = append(faults, fmt.Sprintf("its parameter %s is not supported: %s", name, k.fix))
		}
		delete(config.RuntimeParams, name)
	}
	if err := limitTLS(config); err != nil {
		faults = append(faults, err.Error())
	}
	if len(faults) > 0 {
		slices.Sort(faults)
		return &KeywordError{strings.Join(faults, "; ")}
	}
	return nil
}

// limitTLS honours ssl_min_protocol_version and ssl_max_protocol_version at every
// host.
func limitTLS(config *pgconn.Config) error {
	least, err := tlsVersion(config, "ssl_min_protocol_version")
	if err != nil {
		return err
	}
	most, err := tlsVersion(config, "ssl_max_protocol_version")
	if err != nil {
		return err
	}
	if most != 0 && least > most {
		return &KeywordError{"its parameter ssl_min_protocol_version is above ssl_max_protocol_version"}
	}
	all := []*tls.Config{config.TLSConfig}
	for _, host := range config.Fallbacks {
		all = append(all, host.TLSConfig)
	}
	for _, c := range all {
		if c == nil {
			continue
		}
		if least != 0 {
			c.MinVersion = least
		}
		if most != 0 {
			c.MaxVersion = most
		}
	}
	return nil
}

// tlsVersion takes a version out of the settings; 0 where none is given.
func tlsVersion(config *pgconn.Config, name string) (uint16, error) {
	value := config.RuntimeParams[name]
	delete(config.RuntimeParams, name)
	switch value {
	case "":
		return 0, nil
	case "TLSv1":
		return tls.VersionTLS10, nil
	case "TLSv1.1":
		return tls.VersionTLS11, nil
	case "TLSv1.2":
		return tls.VersionTLS12, nil
	case "TLSv1.3":
		return tls.VersionTLS13, nil
	}
	return 0, &KeywordError{"its parameter " + name + " takes TLSv1, TLSv1.1, TLSv1.2 or TLSv1.3"}
}
