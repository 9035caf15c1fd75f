// Package tracetest follows one trace from an application through a row, the relay and a
// broker to a consumer, as an operator would see it: all of them send their spans to the
// OpenTelemetry Collector's own receiver. The consumers are Node programs with
// OpenTelemetry's stock instrumentation.
//
// It is a module of its own, because the Collector brings many others. "make trace-test"
// runs it.
package tracetest
