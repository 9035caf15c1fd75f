// Package link has what all sinks share: how a sink reaches its broker and stays
// connected, and how its goroutines work together. It knows no broker. Each sink
// defines what a session is, and how one is made, as a [Broker].
//
//   - [Servers] and [TLS] are what was configured. [Topology] says whether the sink may
//     create what the broker lacks.
//   - A [Link] makes one session after the other.
//   - A [Life] knows why one session ended, and the questions to the broker that are
//     still open. The end of the session waits for these. [Ask] puts one question, with
//     a deadline.
//   - A [Judge] says which messages are late, what shows that the broker works, and when
//     to ask it.
//   - A [Queue] hands messages to a goroutine, and [AwaitTasks] waits for the
//     goroutines of a sink.
//   - [Shares] bounds how much of a window late topics take: topics with messages that
//     are not acknowledged in time.
//
// Guarantees: a session is replaced as soon as it has ended, with any number of
// attempts. The pauses between attempts grow while these fail, and are jittered, so
// that many relays do not come back at the same moment. A connection that ends as soon
// as it is made does not count as a success. An outage is one warning, which is
// repeated at growing intervals, and one line when it is over. Sessions that end at
// once, one after the other, are one outage. Errors of this package show no
// credentials.
//
// Concurrency: all methods are safe for concurrent use, except [Link.Keep] and
// [Queue.Run], each of which is called once.
package link
