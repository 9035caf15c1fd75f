// Package testbed holds what a throwaway server needs: a temporary directory, a
// port that nobody else gets while the server is down, and a process. The
// packages below it are the servers, and what else tests put around the relay:
//
//	pgserver, natsserver, rabbitserver   one real server each
//	relaybin                             the relay's own binary as a process
//	pgtest                               a database per test in one shared cluster
//	faultproxy                           a connection that breaks where told
//	authority                            TLS certificates
//
// Guarantees: a process started in a [Dir] ends and the directory goes when the
// Dir is closed, and also when the process that made the Dir dies without
// closing it, by SIGKILL included. Nothing here needs a test: the demonstration
// uses it too.
//
// Concurrency: all types are safe for concurrent use.
package testbed
