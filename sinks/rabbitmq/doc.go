// Package rabbitmq publishes messages to RabbitMQ.
//
// On the wire: messages go to one exchange, with the topic as routing key, and are
// mandatory. They have delivery mode 2 and the properties message_id, content_type and
// timestamp (created_at, in seconds). The headers are Outbox-Key (if the row has a key)
// and those of the row, with their names as given and their values as strings, x-delay
// included. The payload is unchanged. CC and BCC are refused: RabbitMQ routes by them,
// or closes the channel because of them. An x-delay that is no number is refused too,
// because the delayed-message exchange fails on it. That exchange returns the messages
// that it delays, so a message with x-delay counts as unroutable there. The outbox
// delays by available_at instead.
//
// Acknowledged means that the broker confirmed the message and did not return it. A
// return comes before its confirm. It is read, and matched by message id and routing
// key, before the confirm counts. RabbitMQ detects no duplicates, so no outcome here
// has Duplicate set.
//
// Order: messages of one key are written in the order in which they were handed over,
// to one channel, and a queue stores what reaches it in that order. There is no order
// between channels, and a message may be refused and a later one accepted. So if
// messages must not overtake each other, the caller waits for the acknowledgement of
// one before it hands over the next. Or it hands them over in one [relay.Lane], which
// is not strict: they are stored in order, unless the broker refuses one of them. Here
// such a lane is a run: messages that are written to one channel without a gap. It ends
// with the channel (see run).
//
// Outcomes: every message gets exactly one. A message that breaks the rules of the wire
// is rejected before a byte is written. A nack or a return is a refusal. No message is
// blamed for a missing exchange or a blocked broker: messages that are not written are
// unavailable, and messages that are in flight when the broker blocks stay in flight
// while the connection lives. A message that is not confirmed in time is refused if the
// broker is seen to work; if not, the connection is given up. When a connection ends,
// each message in flight on it is unknown.
//
// Suspects: a message may make the broker close its channel (a topic that is not
// permitted, a payload over the broker's limit). It is found by the broker's reason, or
// by sending the suspects one at a time, and is refused alone. The other messages of
// the channel are sent again under the same id. Later messages of its topic go through
// a channel of suspects. There each message is followed by a question. The answer shows
// that the broker took the message, and the next message waits for it. It does not wait
// for the confirm, because a queue may never send one.
//
// Late topics: once 32 messages wait for a quorum queue that takes no commands, the
// broker stops reading the channel, and then the whole connection, and says nothing. So
// a topic is late as soon as one of its messages was overtaken for a third of the
// acknowledgement timeout, and goes to a second connection. There at most 24 messages
// of a channel are unconfirmed, and at most 4 of a topic, which is too few to stop the
// connection. As long as few topics are late, each has a channel of its own there, so
// its queue stops no other topic. Further messages are postponed. The topic comes back
// when one of its messages is confirmed in time. If only the second connection is lost,
// its messages are postponed too. A message that was there at two losses in a row is
// then written alone, and is refused if the connection is lost again.
//
// If the broker has stopped reading a connection, it does not answer a question on the
// channel, and the connection is given up. Its messages are unknown, not late: a
// message is late only if its own channel has answered something that was written after
// the message's time was over. A channel that answers nothing may have been stopped by
// its oldest message, so the topic of that message counts as late.
//
// Confirms come from the library's deferred confirmations. NotifyPublish is not used:
// it holds back a confirm until all earlier ones have come, so one queue without a
// quorum would stop the others. A negative deferred confirmation counts only while its
// channel is open: when a channel closes, the library gives one to everything in
// flight.
//
// Connections: each lasts until its first fault. Then another one is made to the next
// node of the list, with any number of attempts, and the files of certificates are read
// again. The client library's own recovery is off. The library ignores contexts during
// I/O and flushes each message separately. So this package has its own socket below the
// library. It never blocks a writer, joins small writes and has deadlines of its own.
//
// If a queue has stopped, the broker owes its channel confirms. Then the channel is
// replaced by another one, and is read until these confirms have come. Otherwise the
// messages that were given up would fill the window, and the library's memory would
// grow: it keeps an entry for each confirm that overtakes a missing one. The
// replacement does not disturb the connection and the other messages.
//
// Channels: messages with a key go to the channel of the key. Those without a key go to
// each channel in turn. Measured (BenchmarkPublish: 300 bytes, window 4096, one quorum
// queue, RabbitMQ 3.10 on the same two processors, which others used too): 16,300
// messages/s with one channel, 18,500 with two, 24,400 with four, 18,200 with eight.
// The library alone, with one channel and deferred confirms, has 14,400. Processor time
// for a message is 8 to 9 µs here and 12 µs there. Hence four channels by default, and
// on each a window of a quarter of the relay's: 1023 of 4096.
//
// Concurrency: Publish is for one goroutine, Probe and MaxMessageBytes for any.
package rabbitmq
