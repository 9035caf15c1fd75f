// Package worker has what the goroutines of a sink need: a [Queue] that hands
// them messages, and an end that [Await] waits for. It knows neither messages nor
// brokers.
package worker
