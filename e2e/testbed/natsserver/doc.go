// Package natsserver runs a private NATS server with JetStream for tests,
// benchmarks and the demonstration, in one of two ways: [StartInProcess] embeds
// it, which is quick; [StartProcess] runs the real program, which can be killed
// and frozen. [StartCluster] embeds several as one cluster.
//
// Guarantees: a server that was started accepts connections. Its port never
// changes, and its streams survive a shutdown, a kill and a restart. Nothing of
// it is left after Close or after the death of the program that started it,
// except a store directory that the caller named.
//
// Concurrency: all methods are safe for concurrent use.
package natsserver
