package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/sipward/sipward/sip"
)

// maxSeen bounds the SIP messages that a phone remembers.
const maxSeen = 64

// PhoneOptions say what a phone is like. Name and Addr are needed.
type PhoneOptions struct {
	Name      string         // the user part of its address, "alice"
	Domain    string         // what From names behind it; "": its IP address
	Addr      netip.Addr     // of its SIP and media sockets
	Network   Network        // nil: System
	Transport string         // of SIP: "udp" or "tcp"; "": "udp"
	Proxy     netip.AddrPort // where its calls go; needed to call

	Play   []int16 // what it says, 8000 samples a second; nil: nothing
	Repeat bool    // says it again and again, else once

	Manual       bool          // rings until Call.Answer, else answers by itself
	AnswerAfter  time.Duration // for which it rings then
	TalkAfterAck bool          // the callee talks once the ACK came, else right after its 200
	LateOffer    bool          // its INVITE has no SDP: the offer comes with the answer

	Log *slog.Logger // nil: none
}

// Phone is a plain phone: it knows SIP, SDP, PCMU and no encryption. It has one
// line, so a second caller hears that it is busy (486).
type Phone struct {
	o        PhoneOptions
	stack    *sip.Stack
	listener *sip.Listener
	calls    chan *Call

	mu     sync.Mutex
	call   *Call // the one that is not over
	all    []*Call
	seen   []*sip.Message
	closed bool
}

// NewPhone opens the phone's SIP socket; Close must follow.
func NewPhone(o PhoneOptions) (*Phone, error) {
	if o.Name == "" || !o.Addr.IsValid() {
		return nil, errors.New("demo: a phone needs a name and an address")
	}
	if o.Network == nil {
		o.Network = System
	}
	if o.Domain == "" {
		o.Domain = bracketed(o.Addr)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	p := &Phone{o: o, calls: make(chan *Call, 64)}
	p.stack = sip.NewStack(sip.Options{Handler: p.take, UserAgent: "plain-phone/1.0", Log: o.Log})
	lo, err := sipListener(o.Network, o.Name, o.Transport, o.Addr)
	if err != nil {
		return nil, err
	}
	p.mu.Lock() // take may run before the listener is known
	defer p.mu.Unlock()
	if p.listener, err = p.stack.Listen(lo); err != nil {
		return nil, err
	}
	return p, nil
}

// sipListener opens a socket for SIP.
func sipListener(n Network, name, transport string, addr netip.Addr) (sip.ListenerOptions, error) {
	packet, stream, err := openSIP(n, transport, netip.AddrPortFrom(addr, 0))
	o := sip.ListenerOptions{Name: name, Packet: packet, Stream: stream}
	if streams, ok := n.(StreamNetwork); ok && stream != nil {
		o.Dial = func(ctx context.Context, remote netip.AddrPort) (net.Conn, error) {
			return streams.Dial(ctx, addr, remote)
		}
	}
	return o, err
}

// openSIP opens one socket of that transport; the other result is nil.
func openSIP(n Network, transport string, addr netip.AddrPort) (net.PacketConn, net.Listener, error) {
	switch transport {
	case "", "udp":
		c, err := n.ListenPacket(addr)
		return c, nil, err
	case "tcp":
		streams, ok := n.(StreamNetwork)
		if !ok {
			return nil, nil, errors.New("demo: this network has no TCP")
		}
		l, err := streams.Listen(addr)
		return nil, l, err
	default:
		return nil, nil, fmt.Errorf("demo: transport %q is neither udp nor tcp", transport)
	}
}

func bracketed(a netip.Addr) string {
	if a.Is6() {
		return "[" + a.String() + "]"
	}
	return a.String()
}

// Addr is where the phone takes SIP.
func (p *Phone) Addr() netip.AddrPort { return p.listener.Local() }

// URI is the address under which its contact is reached.
func (p *Phone) URI() string { return p.listener.ContactURI(p.o.Name).String() }

// Calls gives the calls that ring at the phone, each once, in order.
func (p *Phone) Calls() <-chan *Call { return p.calls }

// Seen gives the last SIP messages that reached the phone, at most 64, oldest
// first.
func (p *Phone) Seen() []*sip.Message {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*sip.Message(nil), p.seen...)
}

func (p *Phone) note(m *sip.Message) {
	if m == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.seen) == maxSeen {
		p.seen = append(p.seen[:0], p.seen[1:]...)
	}
	p.seen = append(p.seen, m)
}

// Call dials an address such as "sip:bob@b.example" through the phone's proxy.
// It returns at once; the call's channels tell what becomes of it.
func (p *Phone) Call(to string) (*Call, error) {
	uri, err := sip.ParseURI(to)
	if err != nil {
		return nil, fmt.Errorf("demo: call %q: %w", to, err)
	}
	if !p.o.Proxy.IsValid() {
		return nil, errors.New("demo: this phone has no proxy to call through")
	}
	c, err := p.newCall(true)
	if err != nil {
		return nil, err
	}
	c.queue.Post(func() { c.dial(uri) })
	return c, nil
}

// newCall takes the phone's line.
func (p *Phone) newCall(caller bool) (*Call, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, net.ErrClosed
	}
	if p.call != nil {
		return nil, errors.New("demo: the phone is in a call")
	}
	l, err := openLine(p.o.Network, p.o.Addr, p.o.Play, p.o.Repeat, p.o.Name+"@"+p.o.Domain)
	if err != nil {
		return nil, err
	}
	c := &Call{phone: p, caller: caller, line: l, ringing: newSignal(), up: newSignal(), ended: newSignal(), direction: "sendrecv", version: 1}
	c.queue.Log = p.o.Log
	p.call = c
	p.all = append(p.all, c)
	return c, nil
}

// release gives the line back.
func (p *Phone) release(c *Call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.call == c {
		p.call = nil
	}
}

// take answers the requests that belong to no call.
func (p *Phone) take(in *sip.Incoming) {
	p.note(in.Message)
	switch {
	case in.Method == "ACK":
	case in.Malformed() != nil:
		in.Reply(400, "")
	case in.To().Tag() != "" || in.Method == "CANCEL":
		in.Reply(481, "")
	case in.Method == "OPTIONS":
		in.Reply(200, "", sip.Field{Name: "Allow", Value: phoneAllows}, sip.Field{Name: "Accept", Value: sdpType})
	case in.Method != "INVITE":
		in.Reply(405, "", sip.Field{Name: "Allow", Value: phoneAllows})
	case in.Has("Require"):
		in.Reply(420, "", sip.Field{Name: "Unsupported", Value: strings.Join(in.Values("Require"), ", ")})
	case len(in.Body) > 0 && in.ContentType() != sdpType:
		in.Reply(415, "", sip.Field{Name: "Accept", Value: sdpType})
	default:
		c, err := p.newCall(false)
		if err != nil {
			in.Reply(486, "")
			return
		}
		if c.dialog = in.Accept(&c.queue, c, p.o.Name); c.dialog == nil {
			c.finish(nil)
			return
		}
		c.queue.Post(func() { c.ring(in) })
	}
}

// Close hangs nothing up: the phone is gone, with its sockets and goroutines.
func (p *Phone) Close() {
	p.mu.Lock()
	p.closed = true
	all := p.all
	p.mu.Unlock()
	p.stack.Close()
	for _, c := range all {
		c.finish(net.ErrClosed)
		c.line.close()
	}
}
