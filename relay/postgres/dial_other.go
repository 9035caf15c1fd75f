//go:build !linux

package postgres

import (
	"syscall"
	"time"
)

// setUserTimeout does nothing where there is no such option: the deadline that
// every statement has ends a silent connection too, later.
func setUserTimeout(syscall.RawConn, time.Duration) error { return nil }
