// The app of deploy/compose.yaml: a shop, as small as one can be. "app serve" takes
// orders over HTTP and writes each of them together with its event, in one
// transaction. "app consume" prints the events that arrive, "app consume 1" one.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
)

const usage = `usage: app serve      takes POST /orders at :8080, for the database DATABASE_URL
       app consume    prints what arrives from the broker BROKER_URL (nats:// or amqp://);
                      with a number: that many messages
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	command := parse(os.Args[1:])
	if command == nil {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	if err := command(ctx); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "app:", err)
		os.Exit(1)
	}
}

// parse returns nil for arguments that mean nothing.
func parse(args []string) func(context.Context) error {
	switch {
	case len(args) == 1 && args[0] == "serve":
		return serve
	case len(args) == 1 && args[0] == "consume":
		return consumer{}.consume
	case len(args) == 2 && args[0] == "consume":
		if n, err := strconv.Atoi(args[1]); err == nil && n > 0 {
			return consumer{messages: n}.consume
		}
	}
	return nil
}
