//go:build !unix

package main

import "time"

// cpuTime is nil: it is not known here.
var cpuTime func() time.Duration
