package b2bua

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sipward/sipward/b2bua/door"
	"github.com/sipward/sipward/keyexchange"
	"github.com/sipward/sipward/media"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/record"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/route/registrar"
	"github.com/sipward/sipward/sas/attest"
	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/auth"
	relayer "github.com/sipward/sipward/sip/relay"
	"github.com/sipward/sipward/trust"
)

// Listener is one socket on which calls come and leave. Exactly one of Packet
// and Stream is set; the proxy owns it from then on.
type Listener struct {
	Name      string
	Side      policy.Side // declared, never guessed
	Packet    net.PacketConn
	Stream    net.Listener
	TLS       *sip.TLSOptions // with Stream: TCP becomes TLS
	Advertise netip.AddrPort  // what Via, Contact and SDP name; zero: the socket's own address
	Media     netip.Addr      // where media of its legs is received; zero: the listener's address
	// Networks narrows who may use an inside listener; empty: everybody who
	// reaches it.
	Networks []netip.Prefix
	// PeersOnly makes an outside listener deaf to sources that are no listed
	// peer's.
	PeersOnly bool
	// Moves says that Move may give the listener another address: what is
	// registered elsewhere under it is renewed often.
	Moves    bool
	Dial     func(context.Context, netip.AddrPort) (net.Conn, error)
	Accounts Accounts // inside: where its phones have their accounts
	DTMF     DTMF     // inside: how its phones send and take digits
	SDES     SDES     // inside: what its phones are offered when they are called
	// Identities says for whom phones of an inside listener speak without having
	// proved it by a password: where the wire to it proves enough, such as the
	// loopback or TLS with client certificates. nil: for nobody.
	Identities func(identity string) bool
}

// Options of a proxy. Routes, Policy and Media are needed.
type Options struct {
	Listeners []Listener
	Routes    *route.Table
	Lookup    route.Lookup // DNS; nil: the system's resolver
	Policy    *policy.Policy
	// Peer names the listed peer that a URI's host or an address belongs to;
	// "" for strangers. nil: there are no listed peers.
	Peer func(host string, addr netip.Addr) string
	// Trusted says whether a listed peer is told who calls and is called, and is
	// believed where it says so (RFC 3324); nil: none is.
	Trusted func(peer string) bool
	Media   *media.Engine
	Groups  []string            // allowed groups in order of preference; nil: all built
	Suites  []keyexchange.Suite // allowed suites in order of preference; nil: those that every sipward has
	Limits  Limits
	Rekey   Rekey
	Timers  Timers
	// Registrar takes the registrations of phones inside; nil: there are none.
	Registrar *registrar.Registrar
	// Domains are those of the registered users, the one that bindings are
	// kept under first. The listeners' own addresses stand for it as well.
	Domains []string
	// Auth challenges phones inside, for REGISTER and for each request that
	// leads out of a dialog; nil: nobody is asked for a password.
	Auth *auth.Challenger
	// Users says whether an account exists; nil: nobody is known who has no
	// phone registered.
	Users func(user string) bool
	// AccountsElsewhere keeps what phones have registered at other registrars over
	// a restart; nil: nothing does.
	AccountsElsewhere registrar.Keeper
	// Registered hears of each contact that was bound (or removed).
	Registered func(user, contact string, bound bool)
	Emergency  route.Emergency
	// Record hears of each call that has ended; nil: nothing is kept.
	Record interface{ Add(record.Call) }
	Trunks []Trunk // accounts at providers, no two of one peer
	// Aliases lead numbers and other addresses to the one that is meant, before
	// anything else is looked up; once, not again. nil: there are none.
	Aliases *route.Aliases
	// Signers are the keys that sign for an identity sip:user@host that a phone has
	// proved, at most four; nil: nothing is signed.
	Signers func(identity string) []attest.Signer
	// SignsFor says whether callers of a listed peer, "" for those of none, get
	// signatures of who they call; nil: all do.
	SignsFor  func(peer string) bool
	Anonymous bool           // nothing is ever signed
	Keyring   attest.Keyring // OpenPGP keys of others; nil: none are known
	// Memory remembers the keys of others; nil: only for as long as the proxy runs.
	Memory    *trust.Memory
	UserAgent string
	Log       *slog.Logger
}

// Proxy takes calls until Shutdown.
type Proxy struct {
	o           Options
	log         *slog.Logger
	stack       *sip.Stack
	listeners   []*listener
	byFlow      map[*sip.Listener]*listener
	ground      atomic.Pointer[ground]
	moving      sync.Mutex // held by Move
	door        *door.Door // who may come in, and how often
	up          *upstream
	trunks      []*trunk
	relay       *relayer.Relay
	registering chan struct{} // one element for each REGISTER under way
	stripped    *pathMemory
	learning    sync.WaitGroup // what the memory is being told
	forking     *pathMemory    // addresses outside at which several user agents ring
	sdesPhones  *pathMemory    // phones inside that speak SRTP alone, as far as they have shown
	hub         hub
	counters    counters

	mu       sync.Mutex
	calls    map[string]*Call
	draining bool
	byes     int           // sent and not answered yet
	idle     chan struct{} // closed when draining and neither calls nor BYEs are left
}

// listener is a Listener at work.
type listener struct {
	Listener
	sip *sip.Listener
	at  atomic.Pointer[mediaPlace]
}

// mediaPlace is where media of a listener's legs is received.
type mediaPlace struct {
	addr  netip.Addr
	shown netip.Addr // what SDP names for it: behind a NAT, not the same
}

// settle works out where media is received, from where the socket is.
func (l *listener) settle(advertise netip.AddrPort) {
	at := &mediaPlace{addr: l.Media}
	if !at.addr.IsValid() {
		at.addr = l.sip.Local().Addr()
	}
	at.shown = at.addr
	if advertise.IsValid() {
		at.shown = advertise.Addr()
	}
	l.at.Store(at)
}

func (l *listener) media() netip.Addr { return l.at.Load().addr }
func (l *listener) shown() netip.Addr { return l.at.Load().shown }

type counters struct {
	total, protected, refused, failed, strangersAnswered, strangersDropped atomic.Uint64
}

// Counters is what has happened since the start.
type Counters struct {
	Total, Protected, Refused, Failed                   uint64 // calls
	StrangersAnswered, StrangersDropped, MalformedCount uint64 // requests and messages
	Active                                              int    // calls now
	Subscriptions                                       int    // those that hold now
	Dialogs                                             int    // see Proxy.Dialogs
}

// New starts a proxy on its listeners.
func New(o Options) (*Proxy, error) {
	if o.Routes == nil || o.Policy == nil || o.Media == nil {
		return nil, errors.New("b2bua: routes, policy and media are needed")
	}
	if o.Memory == nil {
		o.Memory, _ = trust.Open(nil) // without a keeper there is nothing to fail
	}
	if o.Lookup == nil {
		o.Lookup = net.DefaultResolver
	}
	if o.Groups == nil {
		o.Groups = []string{keyexchange.GroupX25519MLKEM768, keyexchange.GroupX25519}
	}
	if o.Suites == nil {
		o.Suites = commonSuites()
	}
	if o.Rekey.MinInterval == 0 {
		o.Rekey.MinInterval = defaultMinInterval
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Peer == nil {
		o.Peer = func(string, netip.Addr) string { return "" }
	}
	if o.Trusted == nil {
		o.Trusted = func(string) bool { return false }
	}
	p := &Proxy{o: o, log: o.Log, byFlow: map[*sip.Listener]*listener{}, calls: map[string]*Call{}, door: door.New(o.Limits, o.Log), registering: make(chan struct{}, maxRegistering), stripped: newPathMemory(), forking: newPathMemory(), sdesPhones: newPathMemory(), idle: make(chan struct{})}
	p.stack = sip.NewStack(sip.Options{Handler: p.intake, UserAgent: o.UserAgent, Log: o.Log})
	p.relay = relayer.New(p.stack, o.UserAgent, o.Log)
	p.up = newUpstream(o.AccountsElsewhere, p.stack.KeepAlive, o.Log)
	// The handler may run as soon as a socket is served, so the table that it
	// reads is made under the lock that it takes.
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, lo := range o.Listeners {
		sl, err := p.stack.Listen(sip.ListenerOptions{Name: lo.Name, Packet: lo.Packet, Stream: lo.Stream, TLS: lo.TLS, Advertise: lo.Advertise, Dial: lo.Dial})
		if err != nil {
			go p.stack.Close()
			return nil, fmt.Errorf("b2bua: %w", err)
		}
		l := &listener{Listener: lo, sip: sl}
		l.settle(lo.Advertise)
		p.listeners = append(p.listeners, l)
		p.byFlow[sl] = l
	}
	p.survey()
	p.preferStreams()
	if err := p.restoreAccounts(time.Now()); err != nil {
		go p.stack.Close()
		return nil, fmt.Errorf("b2bua: registrations elsewhere: %w", err)
	}
	for _, t := range o.Trunks {
		p.trunks = append(p.trunks, p.newTrunk(t))
	}
	for _, t := range p.trunks {
		t.start()
	}
	return p, nil
}

// preferStreams lets requests that outgrow a datagram leave an outside UDP
// listener over its TCP sibling (RFC 3261 section 18.1.1). Phones inside often
// have no TCP, and the wire to them carries fragments well.
func (p *Proxy) preferStreams() {
	for _, u := range p.listeners {
		for _, t := range p.listeners {
			if u.Side != policyOutside || t.Side != policyOutside || u.sip.Network != "udp" || t.sip.Network != "tcp" || u.sip.Local() != t.sip.Local() {
				continue
			}
			if err := u.sip.SetLargeVia(t.sip); err != nil {
				p.log.Warn("large requests stay on UDP", "listener", u.Name, "error", err)
			}
		}
	}
}

// flowTo returns the way to a hop. Over TLS the peer must prove the name that
// was called, not the one that a DNS record put in its place (RFC 5922 section
// 4), or its address where no name was called.
func (l *listener) flowTo(hop route.Hop, called string) sip.Flow {
	if hop.Network != "tls" {
		return l.sip.Flow(hop.Addr)
	}
	if _, err := netip.ParseAddr(called); err == nil {
		called = ""
	}
	return l.sip.FlowTo(hop.Addr, called)
}

// listenerOf returns the listener that a message came on.
func (p *Proxy) listenerOf(f sip.Flow) *listener {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.byFlow[f.Listener()]
}

// pick returns a listener of that side for a hop: of its transport and
// address family.
func (p *Proxy) pick(side policy.Side, network string, addr netip.Addr) *listener {
	for _, l := range p.listeners {
		if l.Side == side && l.sip.Network == network && l.sip.Local().Addr().Is4() == addr.Unmap().Is4() {
			return l
		}
	}
	return nil
}

// isInside says whether an address belongs to the inside: a listener's own, or
// one of its networks.
func (p *Proxy) isInside(addr netip.Addr) bool {
	for _, n := range p.ground.Load().hide {
		if n.Contains(addr) {
			return true
		}
	}
	return addr.IsLoopback()
}

// Calls returns the live calls, oldest first.
func (p *Proxy) Calls() []View {
	p.mu.Lock()
	calls := make([]*Call, 0, len(p.calls))
	for _, c := range p.calls {
		calls = append(calls, c)
	}
	p.mu.Unlock()
	views := make([]View, 0, len(calls))
	for _, c := range calls {
		views = append(views, c.View())
	}
	sortViews(views)
	return views
}

// Call returns one live call.
func (p *Proxy) Call(id string) (View, bool) {
	p.mu.Lock()
	c := p.calls[id]
	p.mu.Unlock()
	if c == nil {
		return View{}, false
	}
	return c.View(), true
}

// Counters returns what has happened since the start.
func (p *Proxy) Counters() Counters {
	p.mu.Lock()
	active := len(p.calls)
	p.mu.Unlock()
	return Counters{
		Total: p.counters.total.Load(), Protected: p.counters.protected.Load(), Refused: p.counters.refused.Load(), Failed: p.counters.failed.Load(),
		StrangersAnswered: p.counters.strangersAnswered.Load(), StrangersDropped: p.counters.strangersDropped.Load(),
		MalformedCount: p.stack.Malformed(), Active: active,
		Subscriptions: p.relay.Subscriptions(), Dialogs: p.Dialogs(),
	}
}

// Dialogs counts the dialogs that are alive or wait for late repetitions.
func (p *Proxy) Dialogs() int { return p.stack.Dialogs() }

// RemainingDialogs says of each of them what keeps it, as [sip.Stack.Remaining]
// does: for who looks into a number that does not fall when calls end.
func (p *Proxy) RemainingDialogs() []string { return p.stack.Remaining() }

// waiting counts the BYEs on their way.
func (p *Proxy) waiting(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.byes += n
	p.checkIdle()
}

// checkIdle must be called under the lock.
func (p *Proxy) checkIdle() {
	if !p.draining || len(p.calls) > 0 || p.byes > 0 {
		return
	}
	select {
	case <-p.idle:
	default:
		close(p.idle)
	}
}

// Shutdown refuses new calls, ends the running ones with BYE or CANCEL, waits
// until the far ends have answered or ctx is done, and closes the listeners.
// Registrations of trunks are taken back, for which two seconds are given.
// The media engine stays the caller's.
func (p *Proxy) Shutdown(ctx context.Context) error {
	p.mu.Lock()
	p.draining = true
	calls := make([]*Call, 0, len(p.calls))
	for _, c := range p.calls {
		calls = append(calls, c)
	}
	p.checkIdle()
	p.mu.Unlock()
	left := p.leaveTrunks(ctx)
	for _, c := range calls {
		c.queue.Post(func() { c.hangup("sipward is shutting down") })
	}
	var err error
	select {
	case <-p.idle:
	case <-ctx.Done():
		err = ctx.Err()
		for _, c := range calls {
			c.queue.Post(func() { c.finish("abandoned") })
		}
	}
	left()
	p.learning.Wait()
	p.up.close()
	p.relay.Close()
	p.stack.Close()
	p.hub.close()
	return err
}
