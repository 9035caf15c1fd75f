package natsserver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
)

// Cluster is some servers inside this process that are one JetStream cluster.
type Cluster struct {
	Servers []*Server // named n0, n1, …

	dir *testbed.Dir // has the ports
}

// StartCluster starts n servers and returns when they have elected a leader for
// JetStream. It may refuse a stream of n replicas for a moment longer. The configuration of Options is that of each; its directory and port
// mean nothing. ctx means nothing afterwards. The caller closes the cluster.
func StartCluster(ctx context.Context, n int, o Options) (*Cluster, error) {
	c := &Cluster{}
	var err error
	if c.dir, err = testbed.NewDir("natscluster-", nil); err != nil {
		return nil, err
	}
	if err := c.dir.OnPorts(ctx, 2*n, func(ports []int) error { return c.start(ctx, ports[:n], ports[n:], o.Config) }); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context, clients, routes []int, config string) error {
	var peers []string
	for _, port := range routes {
		peers = append(peers, fmt.Sprintf("nats-route://127.0.0.1:%d", port))
	}
	for i, port := range clients {
		s, err := StartInProcess(ctx, Options{Port: port, Config: fmt.Sprintf(
			"server_name: n%d\ncluster { name: tests, listen: \"127.0.0.1:%d\", routes: [%s] }\n%s",
			i, routes[i], strings.Join(peers, ", "), config)})
		if err != nil {
			return errors.Join(err, c.stop())
		}
		c.Servers = append(c.Servers, s)
	}
	if err := c.awaitLeader(ctx); err != nil {
		return errors.Join(err, c.stop())
	}
	return nil
}

// awaitLeader returns when one of the servers leads, and all of them follow it.
func (c *Cluster) awaitLeader(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startDeadline)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		leaders, current := 0, 0
		for _, s := range c.Servers {
			if s.nats.JetStreamIsLeader() {
				leaders++
			}
			if s.nats.JetStreamIsCurrent() {
				current++
			}
		}
		if leaders == 1 && current == len(c.Servers) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for a leader of the NATS cluster: %w", ctx.Err())
		}
	}
}

// Leader is the server that answers questions about streams, and its name.
func (c *Cluster) Leader() (s *Server, name string) {
	for i, s := range c.Servers {
		if s.nats.JetStreamIsLeader() {
			return s, fmt.Sprintf("n%d", i)
		}
	}
	return nil, ""
}

// URLs are those of all servers, separated by commas.
func (c *Cluster) URLs() string {
	var urls []string
	for _, s := range c.Servers {
		urls = append(urls, s.URL())
	}
	return strings.Join(urls, ",")
}

// stop closes the servers.
func (c *Cluster) stop() error {
	var err error
	for _, s := range c.Servers {
		err = errors.Join(err, s.Close())
	}
	c.Servers = nil
	return err
}

// Close stops the servers and removes what they stored. Idempotent.
func (c *Cluster) Close() error { return errors.Join(c.stop(), c.dir.Close()) }
