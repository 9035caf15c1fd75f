package natsserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
)

// Options of a server. The zero value is fit for tests.
type Options struct {
	// Dir is the store directory. Empty: a temporary one, removed by Close.
	Dir string
	// Port on the loopback interface. 0: a free one.
	Port int
	// Config is more text for the configuration file, such as authorization, tls
	// or max_payload. Its words override ours: jetstream: false, for one.
	Config string
}

// site is where a server of either kind lives: its address, its directory and
// its configuration file.
type site struct {
	dir    *testbed.Dir
	store  string
	port   int
	config string // the text without the port
}

// prepare fills the site and starts the server there. The port of Options is
// taken as it is; a free one is chosen again when somebody else takes it first.
func (s *site) prepare(ctx context.Context, o Options, start func(context.Context) error) error {
	var err error
	if s.dir, err = testbed.NewDir("natsserver-", nil); err != nil {
		return err
	}
	s.store, s.config = o.Dir, o.Config
	if s.store == "" {
		s.store = s.dir.Join("store")
	}
	startOn := func(port int) error {
		s.port = port
		if err := s.writeConfig(); err != nil {
			return err
		}
		return start(ctx)
	}
	if o.Port != 0 {
		err = startOn(o.Port)
	} else {
		err = s.dir.OnPorts(ctx, 1, func(ports []int) error { return startOn(ports[0]) })
	}
	if err != nil {
		return errors.Join(err, s.dir.Close())
	}
	return nil
}

func (s *site) configFile() string { return s.dir.Join("nats.conf") }

func (s *site) writeConfig() error {
	text := fmt.Sprintf("host: 127.0.0.1\nport: %d\njetstream: true\n%s\n", s.port, s.config)
	if err := os.WriteFile(s.configFile(), []byte(text), 0o600); err != nil {
		return fmt.Errorf("write NATS configuration: %w", err)
	}
	return nil
}

// Addr is the loopback address, host:port, the same for the server's whole life.
func (s *site) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// URL is nats:// and the address, without credentials.
func (s *site) URL() string { return "nats://" + s.Addr() }
