package patroni

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"syscall"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
)

// store is the etcd that holds the leader's key.
type store struct {
	*testbed.Service
	client, peer int // ports
}

func startStore(ctx context.Context, owner *syscall.Credential) (*store, error) {
	dir, err := testbed.NewDir("etcd-", owner)
	if err != nil {
		return nil, err
	}
	s := &store{}
	s.Service, err = testbed.Start(ctx, testbed.Spec{
		Name: "etcd", Dir: dir, Ports: 2,
		Prepare: func(_ context.Context, ports []int) error {
			s.client, s.peer = ports[0], ports[1]
			return nil
		},
		Command: func() (*exec.Cmd, error) {
			client, peer := "http://"+loopback(s.client), "http://"+loopback(s.peer)
			cmd := exec.Command("etcd", "--data-dir", dir.Join("etcd"), "--log-level", "warn",
				"--listen-client-urls", client, "--advertise-client-urls", client,
				"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer)
			return own(cmd, owner, dir.Path()), nil
		},
		Ready: func(ctx context.Context, _ int) error {
			if status, err := get(ctx, s.client, "health"); err != nil || status != 200 {
				return errors.Join(fmt.Errorf("its health has status %d", status), err)
			}
			return nil
		},
	})
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return s, nil
}
