package demo

import (
	"fmt"
	"log/slog"
	"net/netip"
	"time"
)

const (
	echoDelay    = 300 * time.Millisecond // enough to tell an echo from oneself
	maxEchoDelay = 10 * time.Second
	echoSilence  = 20 * time.Second // without RTP, after which a call is over

	// echoRate bounds what one call may make an echo keep and send, in packets
	// a second: ten phones' worth. Two echoes that somebody has joined to each
	// other send no more than that either.
	echoRate = 500
)

// EchoOptions say what a test address is like. Addr is needed; of the others
// the zero value is the default.
type EchoOptions struct {
	Network Network    // nil: System
	Addr    netip.Addr // of its SIP and media sockets: one specific address, such as 127.0.0.1

	Delay       time.Duration // between a packet and its echo, at most 10 s; 0: 300 ms
	MaxCalls    int           // calls at once; 0: 16
	MaxDuration time.Duration // of a call; 0: 5 min

	Log *slog.Logger // nil: none
}

// Echo is a test address: it answers everybody who calls, under any user name,
// and sends the RTP that comes back after a short delay, so that one person
// with one phone hears whether a call works. It knows plain SIP over UDP and
// plain RTP, and never looks into a payload: the codec is the caller's affair.
//
// A call ends with a BYE after MaxDuration and after 20 seconds in which RTP
// should have come and did not; a held call waits. A caller beyond MaxCalls
// hears that it is busy (486).
//
// What it sends goes to the address that the caller's description names, and
// only packets from there come back, one for one: nobody can turn it on
// somebody else.
type Echo struct{ *machine }

// NewEcho opens the SIP socket on any free port; Close must follow.
func NewEcho(o EchoOptions) (*Echo, error) {
	if o.Delay < 0 || o.Delay > maxEchoDelay {
		return nil, fmt.Errorf("demo: an echo after %v; at most %v are possible", o.Delay, maxEchoDelay)
	}
	if o.Delay == 0 {
		o.Delay = echoDelay
	}
	m, err := newMachine(machineOptions{network: o.Network, addr: o.Addr, user: echoUser, maxCalls: o.MaxCalls, maxDuration: o.MaxDuration, log: o.Log, delay: o.Delay})
	if err != nil {
		return nil, err
	}
	return &Echo{m}, nil
}
