package rabbitserver

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Options of a server. The zero value is fit for tests.
type Options struct {
	// Config is more text for rabbitmq.conf, such as ssl_options or max_message_size.
	// {TLS} in it stands for a second free port, that of [Server.TLSAddr].
	Config string
	// Files that Config names, such as certificates. The node gets copies, since it may
	// live in a folder from which it does not see them.
	Files []string
	// Plugins to enable, such as rabbitmq_auth_mechanism_ssl.
	Plugins []string
}

// writeConfig writes every file that the node reads.
func (s *Server) writeConfig() error {
	own, err := s.copyFiles(strings.ReplaceAll(s.options.Config, "{TLS}", strconv.Itoa(s.ports.tls)))
	if err != nil {
		return err
	}
	conf := fmt.Sprintf(`listeners.tcp.1 = 127.0.0.1:%d
loopback_users = none
num_acceptors.tcp = 2
disk_free_limit.absolute = 1MB
log.file.level = info
%s
`, s.ports.amqp, own)
	for name, text := range map[string]string{
		"rabbitmq.conf":   conf,
		"env.conf":        "",
		"advanced.config": "[].\n",
		"enabled_plugins": "[" + strings.Join(s.options.Plugins, ",") + "].\n",
		"erl_inetrc":      "",
	} {
		if err := os.WriteFile(s.dir.Join(name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("write RabbitMQ configuration: %w", err)
		}
	}
	return nil
}

// copyFiles copies the files that config names to the node's directory, and returns
// the config that names the copies.
func (s *Server) copyFiles(config string) (string, error) {
	for _, path := range s.options.Files {
		content, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("copy RabbitMQ's file: %w", err)
		}
		copied := s.dir.Join(filepath.Base(path))
		if err := os.WriteFile(copied, content, 0o600); err != nil {
			return "", fmt.Errorf("copy RabbitMQ's file: %w", err)
		}
		config = strings.ReplaceAll(config, path, s.place.inside(copied))
	}
	return config, nil
}

// environ is the environment of the node and of the tools that speak to it. It
// starts from ours, without the variables of a RabbitMQ or an Erlang that
// whoever runs the tests may have.
func (s *Server) environ() []string {
	foreign := func(v string) bool {
		return strings.HasPrefix(v, "RABBITMQ_") || strings.HasPrefix(v, "ERL_") || strings.HasPrefix(v, "HOME=") ||
			strings.HasPrefix(v, "NOTIFY_SOCKET=") || strings.HasPrefix(v, "LC_") || strings.HasPrefix(v, "LANG")
	}
	return append(slices.DeleteFunc(os.Environ(), foreign),
		"HOME="+s.place.inside(s.dir.Path()), // of the Erlang cookie
		"LANG=C.UTF-8",
		"ERL_EPMD_PORT="+strconv.Itoa(s.ports.epmd),
		"ERL_EPMD_ADDRESS=127.0.0.1",
		"RABBITMQ_NODENAME="+s.node(),
		"RABBITMQ_DIST_PORT="+strconv.Itoa(s.ports.dist),
		"RABBITMQ_NODE_IP_ADDRESS=127.0.0.1",
		"RABBITMQ_CONF_ENV_FILE="+s.place.inside(s.dir.Join("env.conf")),
		"RABBITMQ_CONFIG_FILE="+s.place.inside(s.dir.Join("rabbitmq.conf")),
		"RABBITMQ_ADVANCED_CONFIG_FILE="+s.place.inside(s.dir.Join("advanced.config")),
		"RABBITMQ_ENABLED_PLUGINS_FILE="+s.place.inside(s.dir.Join("enabled_plugins")),
		"RABBITMQ_MNESIA_BASE="+s.place.inside(s.dir.Join("mnesia")),
		"RABBITMQ_LOG_BASE="+s.place.inside(s.dir.Join("log")),
		"RABBITMQ_GENERATED_CONFIG_DIR="+s.place.inside(s.dir.Join("generated")),
		"RABBITMQ_PID_FILE="+s.place.inside(s.dir.Join("pid")),
		// No busy waiting: the schedulers would take what the tests need.
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-start_epmd false -kernel inet_dist_use_interface {127,0,0,1} +sbwt none",
		// The start script then becomes the node instead of keeping it as a child.
		"RUNNING_UNDER_SYSTEMD=true",
	)
}

// node is unique on the machine, since the port is.
func (s *Server) node() string { return fmt.Sprintf("relaytest%d@localhost", s.ports.amqp) }
