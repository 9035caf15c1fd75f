// Package faultproxy stands between a client and a real server and breaks their
// connections where told: it cuts, refuses, freezes, and loses the server's
// replies.
//
// What the faults promise: once a call has returned, its fault holds for every
// connection, the present ones and those to come, and for every byte sent from
// then on; a byte that was on its way at that moment may still get through.
// Bytes are never changed or reordered. A connection that is not disturbed is
// passed through as it is, half closes included.
//
// Concurrency: all methods may be called at any time from any goroutine, also
// after [Proxy.Close]. Close returns when all goroutines have ended.
package faultproxy
