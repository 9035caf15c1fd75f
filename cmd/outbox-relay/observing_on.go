//go:build !unobserved

package main

// observing: messages are counted, timed and traced, and the table is counted.
const observing = true
