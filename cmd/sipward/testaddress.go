package main

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/configs"
	"github.com/sipward/sipward/demo"
	"github.com/sipward/sipward/keyexchange"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/sip"
)

const (
	// testPeer is the peer of calls to the test addresses, and the name of the
	// rule for them.
	testPeer = "test_addresses"

	// probeWithin bounds the look whether loopback can be reached.
	probeWithin = 200 * time.Millisecond
)

// tests answers the test addresses of a daemon. Phones inside reach them through
// a far end, so that their calls take the whole way; callers outside, whose calls
// have come that way, at a desk inside.
type tests struct {
	desk *demo.TestDesk
	far  *demo.FarEnd // nil without an outside listener that it can be called from
	at   netip.Addr   // of far
}

// openTests starts what answers the test addresses, and returns the routes that
// lead there for every name and address of this sipward.
func (d *daemon) openTests(suites []keyexchange.Suite) (routes []route.Route, err error) {
	if !d.cfg.TestAddresses {
		return nil, nil
	}
	inside := netip.Addr{}
	for _, s := range d.sockets {
		if d.cfg.Listeners[s.listener].Side == policy.Inside && !inside.IsValid() {
			inside = s.addr.Addr()
		}
	}
	d.tests = &tests{}
	if d.tests.desk, err = demo.NewTestDesk(demo.TestDeskOptions{Addr: inside, Log: d.log}); err != nil {
		return nil, fmt.Errorf("the test addresses: %w", err)
	}
	if err := d.openFarEnd(suites); err != nil {
		return nil, fmt.Errorf("the test addresses: %w", err)
	}
	return testRoutes(d.names(), d.tests.desk.URI, d.tests.farURI())
}

// openFarEnd starts the far end on loopback, or, where what is sent from the
// outside address does not arrive there, beside the outside listener.
func (d *daemon) openFarEnd(suites []keyexchange.Suite) (err error) {
	network := farTransport(d.cfg)
	i := slices.IndexFunc(d.sockets, func(s socket) bool { return s.network == network && d.outside(s) })
	if i < 0 {
		return nil
	}
	outside := d.sockets[i].addr.Addr()
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if outside.Is6() {
		loopback = netip.IPv6Loopback()
	}
	d.tests.at = loopback
	if !reaches(outside, loopback) {
		d.tests.at = outside
	}
	d.tests.far, err = demo.NewFarEnd(demo.FarEndOptions{
		Transport: network, Outside: d.tests.at, Inside: loopback, Groups: d.cfg.Crypto.Groups, Suites: suites, Log: d.log,
		Accept: func(from netip.Addr) bool {
			return slices.ContainsFunc(d.sockets, func(s socket) bool { return d.outside(s) && s.addr.Addr() == from })
		},
		Here: func(named netip.AddrPort) netip.AddrPort {
			for _, s := range d.sockets {
				if d.outside(s) && s.network == network && s.advertise == named {
					return s.addr
				}
			}
			return named
		},
	})
	return err
}

func (d *daemon) outside(s socket) bool {
	return d.cfg.Listeners[s.listener].Side == policy.Outside
}

// farTransport is how the far end is called: over UDP, as most are, or TCP where
// there is no UDP or nothing but what needs TCP may be agreed; "" for not at all.
func farTransport(cfg *configs.Config) string {
	has := func(network string) bool {
		return slices.ContainsFunc(cfg.Listeners, func(l configs.Listener) bool {
			return l.Side == policy.Outside && slices.Contains(l.Transports, network)
		})
	}
	fits := slices.Contains(cfg.Crypto.Groups, keyexchange.GroupX25519)
	switch {
	case has("udp") && (fits || !has("tcp")):
		return "udp"
	case has("tcp"):
		return "tcp"
	}
	return ""
}

// reaches says whether a datagram from one address of this machine arrives at
// another one.
func reaches(from, to netip.Addr) bool {
	receiver, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, 0)))
	if err != nil {
		return false
	}
	defer receiver.Close()
	sender, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)))
	if err != nil {
		return false
	}
	defer sender.Close()
	if _, err := sender.WriteTo([]byte("?"), receiver.LocalAddr()); err != nil {
		return false
	}
	_ = receiver.SetReadDeadline(time.Now().Add(probeWithin))
	_, err = receiver.Read(make([]byte, 1))
	return err == nil
}

// names are the hosts that stand for this sipward.
func (d *daemon) names() []string {
	var hosts []string
	for _, s := range d.sockets {
		hosts = append(hosts, bracket(s.addr.Addr()))
		if s.advertise.IsValid() {
			hosts = append(hosts, bracket(s.advertise.Addr()))
		}
	}
	for _, domain := range d.cfg.Registrar.Domains {
		if addr, err := netip.ParseAddr(domain); err == nil {
			domain = bracket(addr)
		}
		hosts = append(hosts, domain)
	}
	return hosts
}

// testRoutes lead from the test addresses under each host to where they are
// answered: from inside to the far end, from outside to the desk. Without a far
// end there is an echo for those inside, and no code that could be read to them.
func testRoutes(hosts []string, desk, far func(user string) string) (routes []route.Route, err error) {
	slices.Sort(hosts)
	for _, host := range slices.Compact(hosts) {
		for _, a := range demo.TestAddresses() {
			match, err := route.ParsePattern(a.User + "@" + host)
			if err != nil {
				return nil, err
			}
			routes = append(routes, route.Route{Match: match, From: route.Outside, To: desk(a.User), Side: route.Inside})
			switch {
			case far != nil:
				routes = append(routes, route.Route{Match: match, From: route.Inside, To: far(a.User), Side: route.Outside, Peer: testPeer})
			case !a.NeedsExchange:
				routes = append(routes, route.Route{Match: match, From: route.Inside, To: desk(a.User), Side: route.Inside})
			}
		}
	}
	return routes, nil
}

// farURI is where the far end answers, nil without one.
func (t *tests) farURI() func(user string) string {
	if t.far == nil {
		return nil
	}
	return t.far.URI
}

// rules are those of the configuration and, before them, that calls to the far
// end are protected, whatever else is said there: they are for trying that.
func (d *daemon) rules() policy.Rules {
	rules := d.cfg.Rules
	if d.tests == nil || d.tests.far == nil {
		return rules
	}
	name := testPeer
	for slices.ContainsFunc(rules.List, func(r policy.Rule) bool { return r.Name == name }) {
		name += "_"
	}
	far := policy.Match{Side: policy.Outside, Network: netip.PrefixFrom(d.tests.at, d.tests.at.BitLen())}
	rules.List = append([]policy.Rule{{Name: name, From: policy.Match{Side: policy.Inside}, To: far, Mode: policy.Require}}, rules.List...)
	return rules
}

// behind tells the desk who knows the codes of its calls.
func (t *tests) behind(p *b2bua.Proxy) {
	if t != nil {
		t.desk.Behind(p)
	}
}

// close comes after the proxy's end, so that the far ends of its calls answer the
// BYE.
func (t *tests) close() {
	if t == nil {
		return
	}
	if t.far != nil {
		t.far.Close()
	}
	if t.desk != nil {
		t.desk.Close()
	}
}

// announceTests says what can be called to try everything.
func (d *daemon) announceTests(out io.Writer) {
	if d.tests == nil {
		return
	}
	host := d.home()
	fmt.Fprintln(out, "  To try it, call")
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, a := range demo.TestAddresses() {
		switch {
		case d.tests.far != nil:
			fmt.Fprintf(w, "    sip:%s@%s\t%s\n", a.User, host, a.Hear)
		case !a.NeedsExchange:
			fmt.Fprintf(w, "    sip:%s@%s\t%s; nothing is encrypted, for there is no outside listener with UDP or TCP\n", a.User, host, a.Hear)
		}
	}
	w.Flush()
	if d.tests.far == nil {
		return
	}
	fmt.Fprintln(out, "  These calls are encrypted, as one to another sipward is.")
	if command := d.callsCommand(); command != "" {
		fmt.Fprintf(out, "  %q shows them: its code must be the one that you hear.\n", command)
	}
}

// callsCommand shows the calls of this sipward, "" without an API.
func (d *daemon) callsCommand() string {
	command := "sipward calls"
	switch url := d.APIURL(); url {
	case "":
		return ""
	case defaultAPI:
	default:
		command += " --api " + url
	}
	if file := d.cfg.API.TokenFile; file != "" {
		command += " --token-file " + file
	}
	return command
}

// home is what stands behind the @ in the addresses of its own users.
func (d *daemon) home() string {
	if domains := d.cfg.Registrar.Domains; len(domains) > 0 {
		return domains[0]
	}
	for _, s := range d.sockets {
		if d.cfg.Listeners[s.listener].Side == policy.Inside {
			return s.addr.String()
		}
	}
	return ""
}

// testAddress narrates a call to a test address. It goes on, to policy, where the
// desk inside answers.
func (e *explainer) testAddress(uri sip.URI) (t route.Target, found, goesOn bool) {
	i := slices.IndexFunc(demo.TestAddresses(), func(a demo.TestAddress) bool { return a.User == uri.User })
	if !e.cfg.TestAddresses || i < 0 || !e.home(uri) {
		return t, false, false
	}
	a := demo.TestAddresses()[i]
	if network := farTransport(e.cfg); e.side == policy.Inside && network != "" {
		e.step("test", "test_addresses", "a second sipward in the same program answers, and %s", a.Does)
		e.ends(outcomeEncrypted, "The call goes to the test address and is encrypted, as one to another sipward is.")
		return route.Target{URI: uri.AOR(), Host: uri.Host, Network: network, Side: route.Outside, Peer: testPeer}, true, false
	}
	if e.side == policy.Inside && a.NeedsExchange {
		return t, false, false
	}
	e.step("test", "test_addresses", "this sipward answers itself, and %s", a.Does)
	return route.Target{URI: uri.AOR(), Host: uri.Host, Side: route.Inside, Rule: route.RuleRegistered}, true, true
}
