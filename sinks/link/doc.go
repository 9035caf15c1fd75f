// Package link is how a sink reaches its broker and stays connected: the servers
// that were configured, the TLS files, and a [Link] that makes one session after
// the other. It knows no broker: what a session is, and how one is made, the sink
// says as a [Broker].
//
// Guarantees: a session is replaced as soon as it has ended, for ever, with
// pauses that grow while that does not help and are jittered, so that many relays
// do not come back in one moment. A connection that is made and ends at once is
// no success. One outage is one warning, repeated at growing intervals, and one
// line when it is over; sessions that end at once, one after the other, are one
// outage. Errors of this package show no credentials.
//
// Concurrency: all methods are safe for concurrent use, but for [Link.Keep],
// which is called once.
package link
