// Package admin serves what a relay says of itself over HTTP.
//
// # What is served
//
// Four paths, for GET and HEAD, all cheap and without side effects. None asks
// the database or the broker anything: they serve what the relay's loop last said
// ([relay.Status]), so a probe is answered at once, even if something hangs.
//
//   - /livez: 200 while the loop turns, in every mode. 503 means that something
//     hangs, and that a restart may help.
//   - /readyz: 200 while the relay has a session with the database and either leads
//     and makes progress, or stands by for another relay. Standing by is ready, and
//     the broker does not count: neither must take the application's pod out of
//     service. With [Options.NeedsTail], a leader that has to poll is not ready.
//   - /status: a [Report] in JSON.
//   - /metrics: [Options.Metrics].
//
// A 503 comes with its reason in one line of text.
//
// # Promises
//
// The names in [Report] are stable: fields are added, not renamed. Nothing that
// is served holds a secret or a payload, since the errors of the adapters do not.
//
// There are no globals: each [Server] has its own multiplexer, timeouts, listener
// and goroutines, and [Server.Close] awaits them. All methods are safe for
// concurrent use. [Client] is the other end, for the commands that ask a relay.
package admin
