// Package natsjs publishes messages to NATS JetStream.
//
// On the wire: the subject is the topic. The headers are Nats-Msg-Id (the message
// id), Content-Type, Outbox-Key (if the row has a key) and those of the row, with
// their names as given. The order of headers has no meaning. The payload is
// unchanged.
//
// Acknowledged means that a stream answered with a PubAck; a PubAck for a duplicate
// counts too. Then a quorum of the stream's replicas has the message, but it may not be
// on disk yet: see sync_interval of the server.
//
// Order: messages are written in the order in which they were handed over, on
// one connection, and a stream stores what reaches it in that order. Nothing more is
// guaranteed: a message may be refused and a later one accepted. So if messages must
// not overtake each other, the caller waits for the acknowledgement of one before it
// hands over the next.
//
// Lanes: if server and stream allow fast-ingest (ADR-50), [Sink.Lane] promises more. A
// lane is a batch of one stream. The stream stores the messages that [Sink.PublishIn]
// hands over in order, and stores nothing after a message that it did not take. See
// lane.
//
// Outcomes: every message gets exactly one. A message that would not arrive unchanged
// is rejected before a byte is written. A message that has waited for half of its time
// is published once more, under the same id. If it is not acknowledged in time, it is
// refused if the broker is seen to work; otherwise the connection is given up. Then its
// topic is late: it has a small share of the window, and further messages are postponed
// at once. When a connection ends, each message in flight on it is unknown. Messages do
// not wait for a connection: if there is none, they are unavailable at once.
//
// Connections: each lasts until its first fault. Then another one is made, with any
// number of attempts, and the files of credentials and certificates are read again. The
// client library's own reconnecting is switched off: it buffers messages whose outcomes
// are reported already, and stops for good after certain errors of the server.
//
// Acknowledgements come to one subscription of this package and are matched here. The
// client library's asynchronous publisher is not used: the outcomes need the order in
// which messages were published, and the library's timer and future for each message
// cost more. Measured (BenchmarkPublish: 300 bytes, window 4096, nats-server 2.15 as a
// process, two processors): 6 µs of processor time and 11 allocations for a message
// here, 12 µs and 33 allocations with the library's publisher. With the server in the
// same process, and its work included, it is 16 µs here and 22 µs there.
//
// [Examine] checks a broker and its streams over a connection of its own.
//
// Concurrency: Publish is for one goroutine, Probe and MaxMessageBytes for any.
package natsjs
