// Command outbox-relay moves rows from an outbox table in PostgreSQL to a
// message broker.
//
// This package reads the command line and the environment, and wires the other
// packages together. Every command is in a file of its own, and uses only the
// environment it is given, its arguments and two streams.
// The exit status is 0, 1 for a failure, 2 for a mistake in usage or
// configuration. The first SIGTERM or SIGINT ends a command in good order, the
// second at once.
package main
