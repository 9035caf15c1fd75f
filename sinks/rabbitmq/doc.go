// Package rabbitmq publishes messages to RabbitMQ.
//
// On the wire: messages go to one exchange, with the topic as routing key, and are
// mandatory. They have delivery mode 2 and the properties message_id, content_type
// and timestamp (created_at, in seconds). The headers are Outbox-Key (if the row has a
// key) and those of the row, with their names as given and their values as strings,
// x-delay included. The payload is unchanged. CC and BCC are refused: RabbitMQ routes
// by them, or closes the channel because of them. So is an x-delay that is no number,
// on which the delayed-message exchange fails. That exchange returns what it delays, so
// a message with x-delay is unroutable there: the outbox delays by available_at.
//
// Acknowledged means that the broker confirmed the message and did not return it. A
// return comes before its confirm. It is read, and matched by message id and routing
// key, before the confirm counts. RabbitMQ detects no duplicates, so no
// acknowledgement is reported as one.
//
// Order: messages of one key are written in the order in which they were handed over,
// to one channel, and a queue stores what reaches it in that order. There is no order
// between channels, and a message may be refused and a later one accepted. So if
// messages must not overtake each other, the caller waits for the acknowledgement of
// one before it hands over the next. Or it hands them over in one [relay.Lane], which
// is not strict: they are stored in order, unless the broker refuses one of them. A
// lane is a run of messages to one channel, and ends with it (see run).
//
// Outcomes: every message gets exactly one. What breaks the rules of the wire is
// rejected before a byte is written. A nack or a return is a refusal. No message is
// blamed for a missing exchange or a blocked broker: what is not written is
// unavailable, and what is in flight when the broker blocks stays in flight while the
// connection lives. A message that is not confirmed in time is refused if the broker
// is seen to work; if not, the connection is given up. When a connection ends, each
// message in flight on it is unknown.
//
// Suspects: a message may make the broker close its channel (a topic that is not
// permitted, a payload over the broker's limit). It is found by the broker's reason, or
// by sending the suspects one at a time, and is refused alone. The other messages of
// the channel are sent again under the same id. Later messages of its topic go through
// a channel of suspects. There each message is followed by a question, and the next one
// waits for the answer, which shows that the broker took the message. It waits for no
// confirm: a queue may never send one.
//
// Late topics: once 32 messages wait for a quorum queue that takes no commands, the
// broker stops reading the channel, and then the whole connection, and says nothing.
// So a topic goes to a connection of its own as soon as one of its messages was overtaken
// for a third of the acknowledgement's time. There at most 24 messages of a channel are
// unconfirmed, 4 of one topic, which stops no connection. As long as few topics are late,
// each has a channel of its own, which its queue may stop. What is more is postponed. The topic comes back
// when a message of it is confirmed in time. If that connection alone is lost, its messages
// are postponed too; one that was there at two losses in a row is written alone, and is
// refused if the connection is lost then.
//
// A connection that the broker has stopped reading is found by a question on the channel and
// given up. Its messages are unknown, not late: a message is late only if its own channel
// has answered something that was written after its time was over. A channel that answers
// nothing may have been stopped by its oldest message, so that one's topic counts as late.
//
// Confirms come from the library's deferred confirmations. NotifyPublish is not used:
// it holds back a confirm until all earlier ones have come, so that one queue without
// a quorum would stop the others. A negative deferred confirmation counts only while
// its channel is open, because the library gives one to everything that is in flight
// when a channel closes.
//
// Connections: each lasts until its first fault. Then another one is made to the next
// node of the list, without any limit of attempts, and the files of certificates are
// read again. The client library's own recovery is off. The library ignores contexts
// during I/O and flushes each message separately. Below it is a socket of this package,
// which never blocks a writer, joins small writes and has deadlines of its own.
//
// A channel to which the broker owes confirms, because a queue has stopped, is
// replaced by another one, and is read until these confirms have come. Otherwise the
// messages that were given up would fill the window, and the library's memory would
// grow: it keeps an entry for each confirm that overtakes a missing one. The connection
// and the other messages are not disturbed.
//
// Channels: messages are spread by key, those without one in turn. Measured
// (BenchmarkPublish: 300 bytes, window 4096, one quorum queue, RabbitMQ 3.10 on the
// same two processors, which others used too): 16,300 messages/s with one channel,
// 18,500 with two, 24,400 with four, 18,200 with eight. The library alone, with one
// channel and deferred confirms, has 14,400. Processor time for a message is 8 to 9 µs
// here and 12 µs there. Hence four channels by default, and on each a window of a
// quarter of the relay's: 1023 of 4096.
//
// Concurrency: Publish is for one goroutine, Probe and MaxMessageBytes for any.
package rabbitmq
