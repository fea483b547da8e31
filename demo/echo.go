package demo

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/sipward/sipward/sip"
)

const (
	echoUser = "echo" // the user part of its contact

	echoDelay    = 300 * time.Millisecond // enough to tell an echo from oneself
	maxEchoDelay = 10 * time.Second
	echoCalls    = 16
	echoDuration = 5 * time.Minute
	echoSilence  = 20 * time.Second // without RTP, after which a call is over

	// lingering bounds, for each call allowed, the Call-IDs of calls that are
	// over and wait for late repetitions (64*T1 each).
	lingering = 16
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
type Echo struct {
	o        EchoOptions
	stack    *sip.Stack
	listener *sip.Listener

	mu     sync.Mutex
	calls  map[*echoCall]struct{}
	closed bool
}

// NewEcho opens the SIP socket on any free port; Close must follow.
func NewEcho(o EchoOptions) (*Echo, error) {
	switch {
	case !o.Addr.IsValid() || o.Addr.IsUnspecified():
		return nil, errors.New("demo: an echo needs one specific address")
	case o.Delay < 0 || o.Delay > maxEchoDelay:
		return nil, fmt.Errorf("demo: an echo after %v; at most %v are possible", o.Delay, maxEchoDelay)
	case o.MaxCalls < 0 || o.MaxDuration < 0:
		return nil, errors.New("demo: the limits of an echo cannot be negative")
	}
	o.Addr = o.Addr.Unmap()
	if o.Network == nil {
		o.Network = System
	}
	if o.Delay == 0 {
		o.Delay = echoDelay
	}
	if o.MaxCalls == 0 {
		o.MaxCalls = echoCalls
	}
	if o.MaxDuration == 0 {
		o.MaxDuration = echoDuration
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	e := &Echo{o: o, calls: map[*echoCall]struct{}{}}
	e.stack = sip.NewStack(sip.Options{Handler: e.take, UserAgent: "sipward-echo", Log: o.Log})
	lo, err := sipListener(o.Network, echoUser, "udp", o.Addr)
	if err != nil {
		return nil, fmt.Errorf("demo: echo: %w", err)
	}
	if e.listener, err = e.stack.Listen(lo); err != nil {
		lo.Packet.Close()
		return nil, fmt.Errorf("demo: echo: %w", err)
	}
	return e, nil
}

// Addr is where it takes SIP.
func (e *Echo) Addr() netip.AddrPort { return e.listener.Local() }

// URI is the address to call, such as "sip:echo@127.0.0.1:40000".
func (e *Echo) URI() string { return e.listener.ContactURI(echoUser).String() }

// Calls counts the calls that are not over.
func (e *Echo) Calls() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.calls)
}

// take answers the requests that belong to no call.
func (e *Echo) take(in *sip.Incoming) {
	allow := sip.Field{Name: "Allow", Value: phoneAllows}
	accept := sip.Field{Name: "Accept", Value: sdpType}
	switch {
	case in.Method == "ACK":
	case in.Malformed() != nil:
		in.Reply(400, "")
	case in.To().Tag() != "" || in.Method == "CANCEL":
		in.Reply(481, "")
	case in.Method == "OPTIONS":
		in.Reply(200, "", allow, accept)
	case in.Method != "INVITE":
		in.Reply(405, "", allow)
	case in.Has("Require"):
		in.Reply(420, "", sip.Field{Name: "Unsupported", Value: strings.Join(in.Values("Require"), ", ")})
	case len(in.Body) > 0 && in.ContentType() != sdpType:
		in.Reply(415, "", accept)
	default:
		e.invited(in)
	}
}

// invited makes a call of an INVITE, or refuses it without keeping anything.
func (e *Echo) invited(in *sip.Incoming) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.closed:
		in.Reply(503, "")
	case len(e.calls) >= e.o.MaxCalls:
		in.Reply(486, "")
	case e.stack.Dialogs() >= lingering*e.o.MaxCalls:
		in.Reply(503, "", sip.Field{Name: "Retry-After", Value: "32"})
	default:
		c := &echoCall{echo: e, from: in.Flow.Remote()}
		c.queue.Log = e.o.Log
		if c.dialog = in.Accept(&c.queue, c, echoUser); c.dialog == nil {
			return
		}
		e.calls[c] = struct{}{}
		c.queue.Post(func() { c.ring(in) })
	}
}

// release gives a call's place back.
func (e *Echo) release(c *echoCall) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.calls, c)
}

// Close says BYE to every caller, waits for none of their answers, and closes
// the sockets. It may be called again.
func (e *Echo) Close() {
	e.mu.Lock()
	e.closed = true
	var over []chan struct{}
	for c := range e.calls {
		done := make(chan struct{})
		over = append(over, done)
		c.queue.Post(func() {
			defer close(done)
			c.hangup("the echo is closed")
		})
	}
	e.mu.Unlock()
	for _, done := range over {
		<-done
	}
	e.stack.Close()
}
