//go:build interop && linux

package interop

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// Ports are taken below those that the system gives to clients (32768 and above).
const (
	lowestPort  = 10000
	highestPort = 32000
)

var (
	portsMu  sync.Mutex
	nextPort = lowestPort + 2*rand.IntN((highestPort-lowestPort)/2)
)

// freePorts returns the first, even one of n ports in a row, on which nothing
// listens, by UDP or TCP, at any address, and which no other test gets.
func freePorts(t *testing.T, n int) int {
	t.Helper()
	portsMu.Lock()
	defer portsMu.Unlock()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if nextPort+n > highestPort {
			nextPort = lowestPort
		}
		first := nextPort
		used := inUse(first, n)
		if used == 0 {
			nextPort += n + n%2
			return first
		}
		nextPort = used + 1 + (used+1)%2 // behind what others use
	}
	t.Fatalf("no %d ports in a row are free", n)
	return 0
}

// inUse is the last of n ports in a row that somebody uses, or 0.
func inUse(first, n int) int {
	for port := first + n - 1; port >= first; port-- {
		// The unspecified address is in nobody else's way, and everybody else is
		// in its way.
		udp, err := net.ListenUDP("udp4", &net.UDPAddr{Port: port})
		if err != nil {
			return port
		}
		udp.Close()
		tcp, err := net.ListenTCP("tcp4", &net.TCPAddr{Port: port})
		if err != nil {
			return port
		}
		tcp.Close()
	}
	return 0
}

// phoneHost is where the phones are, and the inside of every sipward. baresip
// listens for RTP on every address, so what it sends comes from this one.
const phoneHost = "127.0.0.1"

// rtpPorts is how many ports for RTP a phone gets.
const rtpPorts = 16

// wire is one pair of outside addresses. Between them nothing but the two
// sipwards of one test talk.
type wire struct{ a, b string }

var (
	wiresMu sync.Mutex
	wires   int
)

func newWire() wire {
	wiresMu.Lock()
	defer wiresMu.Unlock()
	wires++
	// Process ids tell runs apart that happen at the same time.
	pid := os.Getpid()
	network := fmt.Sprintf("127.%d.%d", 1+pid/250%250, 1+pid%250)
	return wire{fmt.Sprintf("%s.%d", network, 2*wires), fmt.Sprintf("%s.%d", network, 2*wires+1)}
}
