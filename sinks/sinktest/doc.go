// Package sinktest is the conformance suite of sinks: what the relay relies on,
// each outcome provoked on a real broker. A sink's own tests implement [Broker]
// and call [Run].
//
// The suite knows no broker. What only one broker can do (its credentials, its
// error codes) is tested beside its sink.
package sinktest
