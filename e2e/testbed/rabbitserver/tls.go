package rabbitserver

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// WithTLS is a node that also speaks TLS, with these PEM files, and takes the common name of a
// client's certificate for a login (EXTERNAL), or none and a password.
func WithTLS(authority, cert, key string) Options {
	return Options{
		Plugins: []string{"rabbitmq_auth_mechanism_ssl"},
		Files:   []string{authority, cert, key},
		Config: strings.Join([]string{
			"listeners.ssl.1 = 127.0.0.1:{TLS}",
			"ssl_options.cacertfile = " + authority,
			"ssl_options.certfile = " + cert,
			"ssl_options.keyfile = " + key,
			"ssl_options.verify = verify_peer",
			"ssl_options.fail_if_no_peer_cert = false",
			"auth_mechanisms.1 = PLAIN",
			"auth_mechanisms.2 = EXTERNAL",
			"ssl_cert_login_from = common_name",
		}, "\n"),
	}
}

// ReplaceTLS has the node read other files for ssl_options that Options.Config has set,
// such as certfile, from now on. Connections that there are go on.
func (s *Server) ReplaceTLS(ctx context.Context, files map[string]string) error {
	var steps []string
	for _, option := range slices.Sorted(maps.Keys(files)) {
		text, err := os.ReadFile(files[option])
		if err != nil {
			return fmt.Errorf("replace RabbitMQ's %s: %w", option, err)
		}
		steps = append(steps, fmt.Sprintf(`ok = file:write_file(proplists:get_value(%s, O), base64:decode("%s"))`,
			option, base64.StdEncoding.EncodeToString(text)))
	}
	_, err := s.Ctl(ctx, "eval", "{ok, O} = application:get_env(rabbit, ssl_options), "+strings.Join(steps, ", ")+", ssl:clear_pem_cache().")
	return err
}
