//go:build !linux

package tail

import "syscall"

// wakeAt does nothing: the process is woken during a pause too, and goes on to sleep.
func wakeAt(syscall.RawConn, int) error { return nil }
