// Package pgserver runs a private PostgreSQL cluster for tests, benchmarks and
// the demonstration: the real server, on a free loopback port, in a temporary
// directory.
//
// Guarantees: a [Server] returned by [Start] answers queries. Its port never
// changes, its data survive Stop, Kill and Restart, and nothing of it is left after
// Close or after the death of the program that started it. PostgreSQL refuses to run
// as root, so as root the server runs as the user postgres, or nobody where there is
// none.
//
// [Server.Standby] makes a streaming standby of a server, [Server.Promote] makes
// a primary of that. Each of the two is a Server with all these guarantees.
//
// The cluster trusts everybody on the loopback interface, passwords included,
// and does not sync to disk: a crash of the machine loses it, a crash of the
// server (immediate stop) does not.
//
// Concurrency: all methods are safe for concurrent use.
package pgserver
