package testbed_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
)

func TestReservedPortIsNotOneForOutgoingConnections(t *testing.T) {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		t.Skip("the kernel does not tell its range:", err)
	}
	low, err := strconv.Atoi(strings.Fields(string(text))[0])
	if err != nil {
		t.Fatal(err)
	}
	if low < 16384 {
		t.Skip("the kernel's range leaves no room below it:", low)
	}
	for range 50 {
		port := reserve(t)
		if port >= low {
			t.Fatalf("port %d, want below %d", port, low)
		}
		if testbed.Taken(t.Context(), port) {
			t.Errorf("port %d is not free", port)
		}
	}
}

func reserve(t *testing.T) int {
	t.Helper()
	port, err := testbed.ReservePort(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = port.Close() })
	return port.Number
}

// Drawn without looking at each other, 500 of 12,000 ports would have ten pairs.
func TestReservedPortIsNobodyElses(t *testing.T) {
	seen := map[int]bool{}
	for range 500 {
		port := reserve(t)
		if seen[port] {
			t.Fatalf("port %d was given twice", port)
		}
		seen[port] = true
	}
}

// A server of another program, which does not reserve, is quicker: ours starts
// on another port, and keeps both until its directory goes.
func TestStartOnAPortThatIsTakenMeanwhile(t *testing.T) {
	d, err := testbed.NewDir("port-test-", nil)
	if err != nil {
		t.Fatal(err)
	}
	var tried [][]int
	failed := errors.New("address in use")
	err = d.OnPorts(t.Context(), 2, func(ports []int) error {
		tried = append(tried, ports)
		if len(tried) > 1 {
			return nil
		}
		thief, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", ports[1]))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = thief.Close() })
		return failed
	})
	if err != nil || len(tried) != 2 || slices.Contains(tried[1], tried[0][1]) {
		t.Errorf("started on %v (%v), want a second pair", tried, err)
	}
	kept := func(port int) bool {
		l, err := net.ListenPacket("udp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = l.Close()
		}
		return err != nil
	}
	for _, port := range slices.Concat(tried...) {
		if !kept(port) {
			t.Errorf("port %d is not kept", port)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for _, port := range slices.Concat(tried...) {
		if kept(port) {
			t.Errorf("port %d is still kept after Close", port)
		}
	}
	if err := d.OnPorts(t.Context(), 1, func([]int) error { return nil }); !errors.Is(err, testbed.ErrClosed) {
		t.Errorf("a closed directory reserved a port: %v", err)
	}
}

func TestStartThatFailsForAnotherReasonIsNotRepeated(t *testing.T) {
	d, err := testbed.NewDir("port-test-", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	calls, failed := 0, errors.New("bad configuration")
	if err := d.OnPorts(t.Context(), 1, func([]int) error { calls++; return failed }); !errors.Is(err, failed) || calls != 1 {
		t.Errorf("%d calls, %v, want one and its error", calls, err)
	}
}

func TestTakenSeesAListener(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if port := l.Addr().(*net.TCPAddr).Port; !testbed.Taken(t.Context(), port) {
		t.Errorf("port %d has a listener and counts as free", port)
	}
}
