// Outbox-demo shows outbox-relay at work, and at fault, on real servers: a
// private PostgreSQL cluster, a NATS server inside this process or a private
// RabbitMQ node, and the real relay binary, run as the least-privilege role.
//
// The application is a URL shortener. Its writers record each click and the
// message about it in one transaction; some transactions are rolled back. A
// consumer with a database of its own counts the clicks from the messages, each
// once. Half way the relay is killed with SIGKILL while rows that the broker has
// acknowledged are not marked yet, and later the broker stops for two seconds.
//
// The last line tells what became of every click. Its numbers are counted in the
// two databases and in the broker, none is carried over from the programs that
// did the work, and the judge is that of the tests, e2e/oracle. The exit status is 0
// only if nothing was lost, doubled or reordered and the faults really happened as
// described; else it is 1 and each reason is printed.
//
// Everything is temporary and gone when the program has ended, however it ends.
package main
