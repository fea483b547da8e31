package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/keyexchange"
	"github.com/sipward/sipward/media"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
)

// farEndCalls is how many calls each of its addresses takes at once: with 16 in
// all they stay a small part of what a sipward is for.
const farEndCalls = 8

// farEndGrace is how long Close waits for answers to BYE.
const farEndGrace = time.Second

// FarEndOptions say what a far end is like. Addr and Accept are needed.
type FarEndOptions struct {
	Network   Network               // nil: System
	Transport string                // of SIP, towards the sipward that calls: "udp" or "tcp"; "": "udp"
	Outside   netip.Addr            // of its outside listener and media
	Inside    netip.Addr            // of all else: a loopback address
	Accept    func(netip.Addr) bool // whose calls it takes
	// Here says where an address that messages name is, for a sipward that names
	// its router's; nil: there.
	Here   func(netip.AddrPort) netip.AddrPort
	Groups []string            // allowed groups; nil: all built
	Suites []keyexchange.Suite // allowed suites; nil: all built
	Log    *slog.Logger        // nil: none
}

// FarEnd is a second sipward, with a [TestDesk] behind it: what answers the test
// addresses of the first one, so that a call to them takes the whole way.
//
//	phone -- sipward == FarEnd -- TestDesk
//
// It takes no call without a key exchange, and none from anybody but those that
// Accept names.
type FarEnd struct {
	desk   *TestDesk
	engine *media.Engine
	proxy  *b2bua.Proxy
	hop    string
}

// NewFarEnd opens its sockets on free ports; Close must follow.
func NewFarEnd(o FarEndOptions) (f *FarEnd, err error) {
	if o.Accept == nil {
		return nil, errors.New("demo: a far end needs to know whose calls it takes")
	}
	if o.Network == nil {
		o.Network = System
	}
	if o.Transport == "" {
		o.Transport = "udp"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	f = &FarEnd{}
	var opened []io.Closer
	defer func() {
		if err != nil {
			for _, c := range opened {
				c.Close()
			}
			f.Close()
			f, err = nil, fmt.Errorf("demo: far end: %w", err)
		}
	}()
	if f.desk, err = NewTestDesk(TestDeskOptions{Network: o.Network, Addr: o.Inside, MaxCalls: farEndCalls, Log: o.Log}); err != nil {
		return f, err
	}
	mo := media.Options{Workers: 1, Log: o.Log}
	if o.Network != Network(System) { // the engine's own sockets are faster
		mo.Listen = o.Network.ListenPacket
	}
	if f.engine, err = media.NewEngine(mo); err != nil {
		return f, err
	}
	var routes []route.Route
	for _, a := range TestAddresses() {
		routes = append(routes, route.Route{Match: route.MustPattern(a.User), From: route.Outside, To: f.desk.URI(a.User), Side: route.Inside})
	}
	table, err := route.NewTable(routes)
	if err != nil {
		return f, err
	}
	rules, err := policy.New(policy.Rules{ListedPeers: policy.Require, UnknownPeers: policy.Refuse})
	if err != nil {
		return f, err
	}
	so, err := sipListener(o.Network, "far-end", o.Transport, o.Outside)
	if err != nil {
		return f, err
	}
	if o.Here != nil && so.Packet != nil {
		so.Packet = hairpin{so.Packet, o.Here}
	}
	f.hop = opensAt(so, &opened).String() + ";transport=" + o.Transport
	si, err := sipListener(o.Network, "far-end-inside", "udp", o.Inside)
	if err != nil {
		return f, err
	}
	opensAt(si, &opened)
	f.proxy, err = b2bua.New(b2bua.Options{
		Listeners: []b2bua.Listener{
			{Name: "far-end-inside", Side: policy.Inside, Packet: si.Packet, Networks: []netip.Prefix{netip.PrefixFrom(o.Inside, o.Inside.BitLen())}},
			{Name: "far-end", Side: policy.Outside, Packet: so.Packet, Stream: so.Stream, Dial: so.Dial, PeersOnly: true},
		},
		Routes: table, Policy: rules, Media: f.engine, Groups: o.Groups, Suites: o.Suites, UserAgent: "sipward", Log: o.Log,
		// A call that its desk has no place for is told so by the desk.
		Limits: b2bua.Limits{Calls: 4 * farEndCalls},
		Peer: func(_ string, addr netip.Addr) string {
			if addr.IsValid() && o.Accept(addr) {
				return "here"
			}
			return ""
		},
	})
	if err != nil {
		return f, err
	}
	f.desk.Behind(f.proxy)
	return f, nil
}

// URI is where to send calls to an address of the catalogue, such as
// "sip:echo@127.0.0.1:40000;transport=udp".
func (f *FarEnd) URI(user string) string { return "sip:" + user + "@" + f.hop }

// Calls counts the calls that are not over.
func (f *FarEnd) Calls() int { return len(f.proxy.Calls()) }

// Close ends what is left of calls, and closes everything.
func (f *FarEnd) Close() {
	if f.proxy != nil {
		ctx, cancel := context.WithTimeout(context.Background(), farEndGrace)
		defer cancel()
		_ = f.proxy.Shutdown(ctx) // what is on its way after that is given up
	}
	if f.engine != nil {
		_ = f.engine.Close()
	}
	if f.desk != nil {
		f.desk.Close()
	}
}
