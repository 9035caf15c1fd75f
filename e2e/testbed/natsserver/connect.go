package natsserver

import (
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// clientPatience is how long a test's own client waits. Alone, the library gives up after
// two seconds, and after five if it asks JetStream. A busy machine stands still for longer.
const clientPatience = time.Minute

// Connect makes a connection of a test's own. The caller closes it.
func Connect(url string, options ...nats.Option) (*nats.Conn, error) {
	return nats.Connect(url, append([]nats.Option{nats.Timeout(clientPatience)}, options...)...)
}

// JetStream returns a client for requests that are made once. Requests that are repeated
// until they succeed take a shorter context: an answer that got lost is waited for in
// vain.
func JetStream(conn *nats.Conn) (jetstream.JetStream, error) {
	return jetstream.New(conn, jetstream.WithDefaultTimeout(clientPatience))
}
