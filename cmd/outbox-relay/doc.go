// Command outbox-relay moves rows from an outbox table in PostgreSQL to a
// message broker.
//
// This package reads the command line and the environment and puts the parts
// together; what they do is in their packages. Every command is in a file of its
// own and knows only the environment it is given, its arguments and two streams.
// The exit status is 0, 1 for a failure, 2 for a mistake in usage or
// configuration. The first SIGTERM or SIGINT ends a command in good order, the
// second at once.
package main
