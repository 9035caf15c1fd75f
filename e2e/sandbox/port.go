package sandbox

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
)

// portSpan is how many ports below the kernel's own range are drawn from.
const portSpan = 12000

// FreePort returns a loopback TCP port on which nothing listens at this moment.
// It lies below the range from which the kernel takes ports for outgoing
// connections. A port out of that range would be lost while its server is down:
// a client that dials a dead loopback port over and over gets, once in some ten
// thousand times, that very port as its own, is connected to itself, and the
// server cannot come back. Another program may still take the port first: a
// server that fails to listen asks again.
func FreePort(ctx context.Context) (int, error) {
	low := ephemeralLow()
	if low <= 1024+portSpan {
		return listenable(ctx, 0)
	}
	var err error
	for range 100 {
		var port int
		if port, err = listenable(ctx, low-1-rand.IntN(portSpan)); err == nil {
			return port, nil
		}
	}
	return 0, fmt.Errorf("find free port between %d and %d: %w", low-portSpan, low, err)
}

// Taken tells whether something listens on a loopback port.
func Taken(ctx context.Context, port int) bool {
	_, err := listenable(ctx, port)
	return err != nil
}

func listenable(ctx context.Context, port int) (int, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return 0, fmt.Errorf("listen on port %d: %w", port, err)
	}
	port = l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		return 0, fmt.Errorf("free port %d: %w", port, err)
	}
	return port, nil
}

// ephemeralLow is the first port that the kernel gives to outgoing connections.
func ephemeralLow() int {
	const usual = 32768 // Linux; BSD and macOS start higher
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return usual
	}
	var low, high int
	if _, err := fmt.Sscan(string(text), &low, &high); err != nil {
		return usual
	}
	return low
}
