package sandbox_test

import (
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/e2e/sandbox"
)

func TestFreePortIsNotOneForOutgoingConnections(t *testing.T) {
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
		port, err := sandbox.FreePort(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if port >= low {
			t.Fatalf("port %d, want below %d", port, low)
		}
		if sandbox.Taken(t.Context(), port) {
			t.Errorf("port %d is not free", port)
		}
	}
}

func TestTakenSeesAListener(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if port := l.Addr().(*net.TCPAddr).Port; !sandbox.Taken(t.Context(), port) {
		t.Errorf("port %d has a listener and counts as free", port)
	}
}
