// Package rabbitserver runs a private RabbitMQ node for tests, benchmarks and
// the demonstration, as root or as an ordinary user.
//
// Guarantees: a server that was started accepts connections. Its port never
// changes, and what it stored durably survives a stop, a kill and a restart.
// Everything that the node reads or writes (data, logs, configuration, plugins,
// the Erlang cookie) is in a temporary directory, and its port mapper (epmd) is
// its own: a RabbitMQ that the machine runs is neither used nor disturbed.
// Nothing is left after Close or after the death of the program that started
// it.
//
// RABBITSERVER_BIN chooses the programs, and RABBITSERVER_ROOT a folder that holds
// another system with its own RabbitMQ, such as a newer Debian: root enters it with
// chroot (.ci/rabbitmq4 makes one).
//
// Concurrency: all methods are safe for concurrent use.
package rabbitserver
