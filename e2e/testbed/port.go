package testbed

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
)

// portSpan is how many ports below the kernel's own range are drawn from.
const portSpan = 12000

// Port is a loopback TCP port on which nothing listens, kept for its owner.
//
// It lies below the range from which the kernel takes ports for outgoing
// connections. A port out of that range would be lost while its server is down:
// a client that dials a dead loopback port over and over gets, once in some ten
// thousand times, that very port as its own, is connected to itself, and the
// server cannot come back.
//
// No other Port, in this process or another one, has the same number meanwhile:
// servers that start slowly at the same time, or are down for a while, would
// otherwise take each other's. The sign is a socket on the UDP port of the same
// number, which goes with its process. Programs that do not look for the sign
// may still take the port.
type Port struct {
	Number int
	sign   net.PacketConn
}

// ReservePort reserves a free port. The caller closes it.
func ReservePort(ctx context.Context) (*Port, error) {
	low := ephemeralLow()
	draw := func() int { return low - 1 - rand.IntN(portSpan) }
	if low <= 1024+portSpan {
		draw = func() int { return 0 } // no room below the kernel's range: one out of it
	}
	var err error
	for range 100 {
		var p *Port
		if p, err = reserve(ctx, draw()); err == nil {
			return p, nil
		}
	}
	return nil, fmt.Errorf("find a free port below %d: %w", low, err)
}

func reserve(ctx context.Context, number int) (*Port, error) {
	var lc net.ListenConfig
	sign, err := lc.ListenPacket(ctx, "udp4", loopback(number))
	if err != nil {
		return nil, fmt.Errorf("reserve port %d: %w", number, err)
	}
	p := &Port{Number: sign.LocalAddr().(*net.UDPAddr).Port, sign: sign}
	if err := listenable(ctx, p.Number); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// Close gives the port back to everybody.
func (p *Port) Close() error { return p.sign.Close() }

// OnPorts reserves n ports and calls start with them. The ports are kept until
// the Dir is closed. When start fails and another program is found to listen on
// one of them, it is called again with others, up to five times in all. It
// returns start's last error, with the ports.
func (d *Dir) OnPorts(ctx context.Context, n int, start func(ports []int) error) error {
	var err error
	for range 5 {
		var ports []int
		if ports, err = d.reserve(ctx, n); err != nil {
			return err
		}
		if err = start(ports); err == nil {
			return nil
		}
		if n > 0 {
			err = fmt.Errorf("on ports %v: %w", ports, err)
		}
		taken := func(port int) bool { return Taken(ctx, port) }
		if ctx.Err() != nil || !slices.ContainsFunc(ports, taken) {
			return err
		}
	}
	return err
}

// reserve adds n ports to those that the Dir keeps.
func (d *Dir) reserve(ctx context.Context, n int) ([]int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lease == nil {
		return nil, ErrClosed
	}
	var numbers []int
	for range n {
		p, err := ReservePort(ctx)
		if err != nil {
			return nil, err
		}
		d.ports = append(d.ports, p)
		numbers = append(numbers, p.Number)
	}
	return numbers, nil
}

// Taken tells whether something listens on a loopback port.
func Taken(ctx context.Context, port int) bool { return listenable(ctx, port) != nil }

func listenable(ctx context.Context, port int) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp4", loopback(port))
	if err != nil {
		return fmt.Errorf("listen on port %d: %w", port, err)
	}
	if err := l.Close(); err != nil {
		return fmt.Errorf("free port %d: %w", port, err)
	}
	return nil
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

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
