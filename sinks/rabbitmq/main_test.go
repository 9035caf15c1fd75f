package rabbitmq_test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/rabbitserver"
)

// node is the package's RabbitMQ, started by the first test that asks for it.
// Tests that act on the whole of it are not parallel.
var node struct {
	once   sync.Once
	server *rabbitserver.Server
	err    error
}

func server(t testing.TB) *rabbitserver.Server {
	t.Helper()
	node.once.Do(func() {
		// Not the context of the test that happens to come first.
		node.server, node.err = rabbitserver.Start(context.WithoutCancel(t.Context()), rabbitserver.Options{
			Config: "max_message_size = 4194304\n",
		})
	})
	if node.err != nil {
		t.Fatal(node.err)
	}
	return node.server
}

func TestMain(m *testing.M) {
	code := m.Run()
	if node.server != nil {
		if err := node.server.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "close RabbitMQ:", err)
			code = 1
		}
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
