// Package relaybin builds the relay's real binary and runs it as a process, so
// that tests can kill it, stop it and read what it used, as an operator would.
//
// Each variant is built once per test process and goes with it. A [Process]
// belongs to one test: its cleanup kills it, and fails the test if the race
// detector or the runtime complained in its output.
package relaybin
