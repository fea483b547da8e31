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
	machineCalls    = 16
	machineDuration = 5 * time.Minute

	// lingering bounds, for each call allowed, the Call-IDs of calls that are
	// over and wait for late repetitions (64*T1 each).
	lingering = 16
)

// machineOptions say what a machine is like; addr and user are needed.
type machineOptions struct {
	network     Network       // nil: System
	addr        netip.Addr    // of its sockets
	user        string        // of its contact
	maxCalls    int           // 0: 16
	maxDuration time.Duration // 0: 5 min
	log         *slog.Logger  // nil: none

	delay time.Duration                                 // of an echo
	code  func(callID string) (code string, known bool) // what it reads out; nil: it is an echo
}

// machine is what the test addresses have in common: it takes calls without a
// person. Whether it sends back what it hears or reads out a code is the affair
// of its lines.
type machine struct {
	machineOptions
	stack    *sip.Stack
	listener *sip.Listener

	mu     sync.Mutex
	calls  map[*machineCall]struct{}
	closed bool
}

// newMachine opens the SIP socket on any free port; Close must follow.
func newMachine(o machineOptions) (*machine, error) {
	m := &machine{machineOptions: o, calls: map[*machineCall]struct{}{}}
	switch {
	case !m.addr.IsValid() || m.addr.IsUnspecified():
		return nil, fmt.Errorf("demo: %s needs one specific address", m.user)
	case m.maxCalls < 0 || m.maxDuration < 0:
		return nil, errors.New("demo: the limits of a test address cannot be negative")
	}
	m.addr = m.addr.Unmap()
	if m.network == nil {
		m.network = System
	}
	if m.maxCalls == 0 {
		m.maxCalls = machineCalls
	}
	if m.maxDuration == 0 {
		m.maxDuration = machineDuration
	}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	m.stack = sip.NewStack(sip.Options{Handler: m.take, UserAgent: "sipward-" + m.user, Log: m.log})
	lo, err := sipListener(m.network, m.user, "udp", m.addr)
	if err != nil {
		return nil, fmt.Errorf("demo: %s: %w", m.user, err)
	}
	if m.listener, err = m.stack.Listen(lo); err != nil {
		lo.Packet.Close()
		return nil, fmt.Errorf("demo: %s: %w", m.user, err)
	}
	return m, nil
}

// Addr is where it takes SIP.
func (m *machine) Addr() netip.AddrPort { return m.listener.Local() }

// URI is the address to call, such as "sip:echo@127.0.0.1:40000".
func (m *machine) URI() string { return m.listener.ContactURI(m.user).String() }

// Calls counts the calls that are not over.
func (m *machine) Calls() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.calls)
}

// take answers the requests that belong to no call.
func (m *machine) take(in *sip.Incoming) {
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
		m.invited(in)
	}
}

// invited makes a call of an INVITE, or refuses it without keeping anything.
func (m *machine) invited(in *sip.Incoming) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed:
		in.Reply(503, "")
	case len(m.calls) >= m.maxCalls:
		in.Reply(486, "")
	case m.stack.Dialogs() >= lingering*m.maxCalls:
		in.Reply(503, "", sip.Field{Name: "Retry-After", Value: "32"})
	default:
		c := &machineCall{machine: m, from: in.Flow.Remote()}
		c.queue.Log = m.log
		if c.dialog = in.Accept(&c.queue, c, m.user); c.dialog == nil {
			return
		}
		m.calls[c] = struct{}{}
		c.queue.Post(func() { c.ring(in) })
	}
}

// release gives a call's place back.
func (m *machine) release(c *machineCall) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.calls, c)
}

// Close says BYE to every caller, waits for none of their answers, and closes
// the sockets. It may be called again.
func (m *machine) Close() {
	m.mu.Lock()
	m.closed = true
	var over []chan struct{}
	for c := range m.calls {
		done := make(chan struct{})
		over = append(over, done)
		c.queue.Post(func() {
			defer close(done)
			c.hangup("the test address is closed")
		})
	}
	m.mu.Unlock()
	for _, done := range over {
		<-done
	}
	m.stack.Close()
}
