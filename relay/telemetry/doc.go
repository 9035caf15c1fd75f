// Package telemetry shows the relay to OpenTelemetry and Prometheus.
//
// # Metrics
//
// They go through an OpenTelemetry meter. [Telemetry.Handler] serves them to Prometheus.
// They are sent by OTLP too where the standard OTEL_* variables ask for it. Each series
// exists from the start with its zero. No label's value comes from a row, unless
// [Options.Topics] asks for the topic, and then only the first maxTopics topics have a
// series of their own.
//
// # Traces
//
// They are off, and cost nothing, unless an OTEL_* variable names an exporter or an
// endpoint. A span begins when a message is handed to the sink and ends with its outcome.
// A row's own trace context is the message's creation context: it is forwarded unchanged,
// and the relay's CLIENT span is its child and links to it. Where the row has none, the
// relay's PRODUCER span begins the trace, and its context goes out with the message.
// [FromRelay] sends the relay's context in both cases.
//
// # How it sees
//
// [Telemetry.Observe] puts a sink around the sink, so the engine knows nothing of this
// package. The rest is read from [relay.Status] and [relay.Census] at each collection.
// An exporter that fails or hangs delays no message: spans and metrics that cannot be
// sent are dropped, and [Options.Logger] is told.
package telemetry
