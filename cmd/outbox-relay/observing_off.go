//go:build unobserved

package main

// observing is off in the binary that a benchmark compares with, to say what it costs.
const observing = false
