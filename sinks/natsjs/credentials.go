package natsjs

import (
	"fmt"
	"os"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/outbox-relay/outbox-relay/sinks/link"
)

// credentials reads the files for authentication and returns them as options of the
// client library. It is called at the start, to find mistakes early, and for each
// connection. name is the server's name in its certificate; empty: the host of its URL.
func (o Options) credentials(name string) ([]nats.Option, error) {
	var options []nats.Option
	switch {
	case o.CredsFile != "":
		option, err := userCredentials(o.CredsFile)
		if err != nil {
			return nil, fmt.Errorf("read credentials file %s: %w", o.CredsFile, err)
		}
		options = append(options, option)
	case o.NKeyFile != "":
		option, err := nats.NkeyOptionFromSeed(o.NKeyFile)
		if err != nil {
			return nil, fmt.Errorf("read nkey file %s (want the seed of a user, SU…): %w", o.NKeyFile, err)
		}
		options = append(options, option)
	case o.Token != "":
		token, err := link.Reread(o.Token, o.ReadToken)
		if err != nil {
			return nil, err
		}
		options = append(options, nats.Token(token))
	}
	config, err := o.TLS.Config(name)
	if err != nil {
		return nil, err
	}
	if o.TLS != (TLS{}) {
		options = append(options, nats.Secure(config))
	} else { // without files, the scheme or the server asks for TLS
		options = append(options, func(o *nats.Options) error { o.TLSConfig = config; return nil })
	}
	if o.TLSFirst {
		options = append(options, nats.TLSHandshakeFirst())
	}
	return options, nil
}

// servers reads the addresses for one connection.
func (o Options) servers() (addresses, error) {
	list, err := link.Reread(o.URLs, o.ReadURLs)
	if err != nil {
		return addresses{}, err
	}
	return parseAddresses(list)
}

func userCredentials(file string) (nats.Option, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if _, err := nkeys.ParseDecoratedJWT(text); err != nil {
		return nil, fmt.Errorf("find the user's JWT: %w", err)
	}
	key, err := nkeys.ParseDecoratedUserNKey(text)
	if err != nil {
		return nil, fmt.Errorf("find the user's seed: %w", err)
	}
	key.Wipe()
	return nats.UserCredentialBytes(text), nil
}
