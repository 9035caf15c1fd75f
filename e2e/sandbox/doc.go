// Package sandbox holds what a throwaway server needs: a temporary directory, a
// port that nobody else gets while the server is down, and a process.
//
// Guarantees: a process started in a [Dir] ends and the directory goes when the
// Dir is closed, and also when the process that made the Dir dies without
// closing it, by SIGKILL included. Nothing here needs a test: the demonstration
// uses it too.
//
// Concurrency: all types are safe for concurrent use.
package sandbox
