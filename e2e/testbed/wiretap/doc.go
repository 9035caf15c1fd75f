// Package wiretap has a server seem to be on another host: it listens at an address of
// this machine that is not a loopback one, and passes connections on to a server of the
// loopback interface. It remembers what clients have sent, as somebody on the way would.
package wiretap
