// The app of deploy/compose.yaml: a shop, as small as one can be. "app serve" takes
// orders over HTTP and writes each of them together with its event, in one
// transaction. "app consume" prints the events that arrive.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

const usage = `usage: app serve      takes POST /orders at :8080, for the database DATABASE_URL
       app consume    prints what arrives from the broker BROKER_URL (nats:// or amqp://)
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	commands := map[string]func(context.Context) error{"serve": serve, "consume": consume}
	var command func(context.Context) error
	if len(os.Args) == 2 {
		command = commands[os.Args[1]]
	}
	if command == nil {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	if err := command(ctx); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "app:", err)
		os.Exit(1)
	}
}
