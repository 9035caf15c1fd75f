package tail

import (
	"os"
	"syscall"
)

// wakeAt sets how many bytes have to come before the kernel wakes who waits for them.
// Reads return what is there, however little.
func wakeAt(socket syscall.RawConn, bytes int) error {
	if socket == nil {
		return nil
	}
	var failed error
	err := socket.Control(func(fd uintptr) {
		failed = os.NewSyscallError("setsockopt SO_RCVLOWAT", syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVLOWAT, bytes))
	})
	if err != nil {
		return err
	}
	return failed
}
