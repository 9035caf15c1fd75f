// Package natsjs publishes messages to NATS JetStream.
//
// On the wire: the subject is the topic; the headers are Nats-Msg-Id (the
// message id), Content-Type, Outbox-Key (if the row has a key) and the row's
// own, with their names as given; the payload is untouched. Order of headers
// means nothing.
//
// Acknowledged means that a stream answered with a PubAck; a duplicate counts.
// Then a quorum of the stream's replicas has the message, which is not the same
// as having it on disk: see sync_interval of the server.
//
// Order: messages are written in the order in which they were handed over, on
// one connection, and a stream stores what reaches it in that order. There is
// no guarantee beyond that: a message may be refused and a later one accepted,
// so messages that must not overtake each other are handed over one after the
// other's acknowledgement.
//
// Outcomes: every message gets exactly one. What cannot pass the wire unchanged
// is rejected before a byte is written. A message that was not acknowledged in
// time is refused if the broker is seen to work meanwhile; else the connection
// is given up. When a connection ends, each message in flight on it is unknown.
// Nothing is sent later than it was handed over: without a connection a message
// is unavailable at once.
//
// Connections: each lasts until its first fault, and another is made, for ever,
// with the files of credentials and certificates read again. The client
// library's own reconnecting is switched off: it keeps a buffer of messages
// whose outcome has been reported, and gives up for ever after certain errors
// of the server.
//
// Acknowledgements come to one subscription of this package and are matched
// here, not by the client library's asynchronous publisher: outcomes need to
// know what was published before what, the library has a timer and a future for
// each message, and it costs more. Measured (BenchmarkPublish: 300 bytes, window
// 4096, nats-server 2.15 as a process, two processors): 6 µs of processor time
// and 11 allocations for a message here, 12 µs and 33 there; with the server in the
// same process, its work included, 16 µs here and 22 µs there.
//
// [Examine] looks at a broker and its streams on a connection of its own.
//
// Concurrency: Publish is for one goroutine, Probe and MaxMessageBytes for any.
package natsjs
