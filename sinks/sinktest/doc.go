// Package sinktest is the conformance suite of sinks. It tests what the relay relies
// on, and provokes each outcome on a real broker. A sink's own tests implement
// [Broker] and call [Run].
//
// The suite knows no broker. What only one broker has, such as its credentials and
// error codes, is tested in the package of its sink.
package sinktest
