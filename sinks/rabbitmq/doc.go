// Package rabbitmq publishes messages to RabbitMQ.
//
// On the wire: one exchange, the topic as routing key, mandatory; delivery mode 2
// and the properties message_id, content_type and timestamp (created_at, in
// seconds); the headers Outbox-Key (if the row has a key) and the row's own, with
// their names as given and their values as strings, x-delay included; the payload
// is untouched. CC and BCC are refused: RabbitMQ routes by them, or closes the
// channel for them. So is an x-delay that is no number, on which the
// delayed-message exchange fails. That exchange gives back what it delays, so a
// message with x-delay is unroutable there: the outbox delays by available_at.
//
// Acknowledged means that the broker confirmed the message and did not give it
// back. A return comes before its confirm; it is taken, and matched by message id
// and routing key, before the confirm is acted on. RabbitMQ finds no duplicates:
// an acknowledgement is never called one.
//
// Order: messages of one key are written in the order in which they were handed
// over, to one channel, and a queue stores what reaches it in that order. Between
// channels there is none, and a message may be refused and a later one accepted,
// so messages that must not overtake each other are handed over one after the
// other's acknowledgement.
//
// Outcomes: every message gets exactly one. What breaks the rules of the wire is
// rejected before a byte is written. A nack or a return is a refusal. A missing
// exchange and a blocked broker are nobody's fault: what is not written is
// unavailable; what is in flight when the broker blocks is kept while the
// connection lives. A message that makes the broker close a channel (a topic
// that is not permitted, a payload over the broker's own limit) is found, by the
// broker's reason or by sending the suspects one at a time, and refused alone; its
// neighbours are sent again under the same id, and later messages of its topic
// take a channel where each is alone. One that is late there has others of its
// topic refused with it for a while, or they would hold up the rest in turn. A message that was not confirmed in time is
// refused if the broker is seen to work meanwhile; else the connection is given
// up. When a connection ends, each message in flight on it is unknown.
//
// Confirms are taken from the library's deferred confirmations, not from
// NotifyPublish, which holds back a confirm until all before it have come: one
// queue without a quorum would stop the others. A negative deferred confirmation
// counts only while its channel is open, since the library gives one to all that
// is in flight when a channel closes.
//
// Connections: each lasts until its first fault, and another is made, for ever,
// to the next node of the list, with the files of certificates read again; the
// client library's own recovery is off. The library ignores contexts during I/O
// and flushes each message by itself: under it lies a socket of this package that
// never blocks a writer, joins small writes and has deadlines of its own.
//
// A channel that is owed confirms by a queue that has stopped is replaced by
// another while it is followed to its end: the library keeps an entry for each
// confirm that overtakes one that does not come, and messages given up must not
// fill the window. The connection and the other messages are not disturbed.
//
// Channels: messages are spread by key, those without one in turn. Measured
// (BenchmarkPublish: 300 bytes, window 4096, one quorum queue, RabbitMQ 3.10 on
// the same two processors, which others used too): 16,300 messages/s with one
// channel, 18,500 with two, 24,400 with four, 18,200 with eight; the library alone,
// one channel with deferred confirms, 14,400. Processor time for a message: 8 to 9
// µs here, 12 there. Hence four channels by default, and a window of a quarter of
// the relay's on each: 1023 of 4096.
//
// Concurrency: Publish is for one goroutine, Probe and MaxMessageBytes for any.
package rabbitmq
