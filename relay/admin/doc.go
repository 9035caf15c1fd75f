// Package admin serves what a relay says of itself over HTTP.
//
// # What is served
//
// These paths are cheap and without side effects but where they say so. None but the last asks
// the database or the broker anything: they serve what the relay's loop last said
// ([relay.Status]), so a probe is answered at once, even if something hangs.
//
//   - /livez: 200 while the loop turns, in every mode. 503 means that something
//     hangs, and that a restart may help.
//   - /readyz: 200 while the relay has a session with the database and either leads
//     and makes progress, or stands by for another relay. Standing by is ready, and
//     the broker does not count: neither must take the application's pod out of
//     service. With [Options.NeedsTail], a leader that has to poll is not ready.
//     A relay that is paused is ready, and says so.
//   - /status: a [Report] in JSON.
//   - /metrics: [Options.Metrics].
//   - /debug/pprof/: profiles, with the token.
//   - /: the page (folder page), and below /page/ its files.
//   - /api/snapshot: what it shows, held for a second and with an ETag. The samples of
//     the plots are the server's own (history.go).
//   - /api/dead: dead rows. Only this asks the database, over sessions of its own
//     ([Options.OpenDead]): one that reads and one that changes rows at a time.
//
// A 503 comes with its reason in one line of text.
//
// # Who asks
//
// Every request goes through one guard (route.go): names of hosts that are not the
// relay's, spellings of a path, and pages of other sites get no further. A caller is near
// (from the relay's own host), or gives [Options.Token], or is neither, and then gets
// no errors and no keys (redact.go). A path says in [routes] whom it is for.
//
// # Promises
//
// The names in [Report] are stable: fields are added, not renamed. Nothing that
// is served holds a secret, and none but a dead row that is asked for a payload, since the
// errors of the adapters do not.
//
// There are no globals: each [Server] has its own multiplexer, timeouts, listener
// and goroutines, and [Server.Close] awaits them. All methods are safe for
// concurrent use. [Client] is the other end, for the commands that ask a relay.
package admin
