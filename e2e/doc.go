// Package e2e holds the tests of the whole: the relay's real binary, built with
// the race detector, between a real PostgreSQL and a real broker, as the role
// that "outbox-relay migrate --role" makes and with no privilege more. The faults
// are real as well: signals, killed servers, ended sessions, a proxy that breaks
// connections. What came of it is judged by package oracle.
//
// The tests run by themselves in a few minutes (make test). Two more ways:
//
//	make bench   the numbers: throughput beside a plain publisher, memory
//	make chaos   random faults for as long as CHAOS says, such as CHAOS=10m
package e2e
