package configs

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
)

// check looks at what one key alone does not show. It passes over values that
// decode could not read: their problem is reported already.
func (d *document) check(c *Config) {
	d.checkListeners(c)
	d.checkPorts(c)
	d.checkNames(c)
	d.checkRoutes(c)
	d.checkPeers(c)
	d.checkRules(c)
	d.checkGroups(c)
	d.checkRegistrar(c)
	d.checkEmergency(c)
	d.checkTrunks(c)
	d.checkTrust(c)
}

func at(list string, i int, key string) string {
	if key == "" {
		return fmt.Sprintf("%s[%d]", list, i)
	}
	return fmt.Sprintf("%s[%d].%s", list, i, key)
}

// stands reports whether a key is in the file.
func (d *document) stands(path string) bool {
	_, ok := d.places[path]
	return ok
}

func (d *document) checkListeners(c *Config) {
	known, inside := true, false
	outside := slices.ContainsFunc(c.Listeners, func(l Listener) bool { return l.Side != policy.Inside })
	for i, l := range c.Listeners {
		known = known && l.Side != ""
		switch path := at("listeners", i, "accounts"); {
		case l.Side != policy.Inside:
		case l.Accounts == AccountsOwn && !c.Registrar.On && !d.failed("registrar") && !d.meant[".registrar"]:
			d.fail(path, "own are those of a registrar, and there is none; add registrar, or leave this out")
		case l.Accounts == AccountsElsewhere && !outside:
			d.fail(path, "elsewhere is where an outside listener leads, and there is none; add one with side: outside")
		}
		inside = inside || l.Side == policy.Inside
		if l.Side != policy.Inside {
			continue
		}
		path := at("listeners", i, "networks")
		switch {
		case len(l.Networks) == 0 && !d.stands(path):
			if d.meant[path] {
				continue
			}
			if l.Address.Auto || l.Address.IP.IsValid() {
				d.fail(path, "is missing; write who may use this listener, such as [192.168.1.0/24]")
			}
		case len(l.Networks) == 0:
			if !d.failed(path) {
				d.fail(path, "is empty; write who may use this listener, such as [192.168.1.0/24]")
			}
		}
		for j, n := range l.Networks {
			if n.Bits() == 0 {
				d.fail(fmt.Sprintf("%s[%d]", path, j), "%s would make everybody an insider; write the networks of your own phones", n)
			}
		}
	}
	switch {
	case len(c.Listeners) == 0:
		if !d.failed("listeners") && !d.meant[".listeners"] {
			d.fail("listeners", "is missing or empty; it needs at least one with side: inside")
		}
	case known && !inside:
		d.fail("listeners", "none has side: inside, so nobody could call or be called through this sipward")
	}
}

// PassesAccounts reports whether phones may keep accounts at other registrars: on
// a listener that is for them, or where no phone has a password here.
func (c *Config) PassesAccounts() bool {
	return slices.ContainsFunc(c.Listeners, func(l Listener) bool {
		return l.Side == policy.Inside && (l.Accounts == AccountsElsewhere || l.Accounts == "" && c.Registrar.Users == "")
	}) && slices.ContainsFunc(c.Listeners, func(l Listener) bool { return l.Side == policy.Outside })
}

// failed reports whether a key or something within it has a problem already.
func (d *document) failed(path string) bool {
	return slices.ContainsFunc(d.problems, func(p Problem) bool {
		return p.Key == path || len(p.Key) > len(path) && p.Key[:len(path)] == path && (p.Key[len(path)] == '[' || p.Key[len(path)] == '.')
	})
}

// checkPorts finds two users of one port: listeners, API and media.
func (d *document) checkPorts(c *Config) {
	type socket struct{ transport, address string }
	taken := map[socket]int{} // index of the listener
	for i, l := range c.Listeners {
		if !l.Address.Auto && !l.Address.IP.IsValid() {
			continue
		}
		path := at("listeners", i, "address")
		if slices.Contains(l.Transports, "udp") && int(l.Address.Port) >= c.Media.PortMin && int(l.Address.Port) <= c.Media.PortMax {
			d.fail(path, "port %d is one of media.ports (%d-%d); take one outside them", l.Address.Port, c.Media.PortMin, c.Media.PortMax)
		}
		for _, t := range l.Transports {
			a := l.AddressOf(t)
			s := socket{t, a.String()}
			if t == tlsTransport {
				s.transport = "tcp"
			}
			if a.Port == 0 {
				continue
			}
			other, ok := taken[s]
			if !ok {
				taken[s] = i
				continue
			}
			if t == tlsTransport && len(l.Transports) > 1 {
				d.fail(at("listeners", i, "tls.port"), "at %s, where tls listens here, listener %s does as well; write another port", s.address, show(c.Listeners[other].Name))
			} else {
				d.fail(path, "%s is the address of listener %s as well (%s); give each its own port", s.address, show(c.Listeners[other].Name), t)
			}
			break
		}
	}
	if c.API.Off || c.API.Listen.Port() == 0 {
		return
	}
	if other, ok := taken[socket{"tcp", c.API.Listen.String()}]; ok {
		if d.stands("api.listen") {
			d.fail("api.listen", "%s is the address of listener %s as well (tcp); give each its own port", c.API.Listen, show(c.Listeners[other].Name))
		} else {
			d.fail(at("listeners", other, "address"), "at %s the API listens, unless api.listen names another place; give each its own port", c.API.Listen)
		}
	}
}

func (d *document) checkNames(c *Config) {
	unique := func(list string, n int, name func(int) string) {
		seen := map[string]bool{}
		for i := range n {
			if s := name(i); s != "" && seen[s] {
				d.fail(at(list, i, "name"), "%s is the name of an earlier one as well; give each its own", show(s))
			} else {
				seen[s] = true
			}
		}
	}
	unique("listeners", len(c.Listeners), func(i int) string { return c.Listeners[i].Name })
	unique("peers", len(c.Peers), func(i int) string { return c.Peers[i].Name })
	unique("policy.rules", len(c.Rules.List), func(i int) string { return c.Rules.List[i].Name })
}

// checkRoutes asks for a listener on the side that a route leads to, with the
// transport that it names: from there its calls are sent.
func (d *document) checkRoutes(c *Config) {
	transports := map[string][]string{}
	for _, l := range c.Listeners {
		if l.Side == "" {
			return // which sides there are is not known
		}
		transports[string(l.Side)] = append(transports[string(l.Side)], l.Transports...)
	}
	for i, r := range c.StaticRoutes {
		if r.Side != "" {
			u, err := route.ParseNextHop(r.To)
			switch has := transports[r.Side]; {
			case len(has) == 0:
				d.fail(at("routes", i, "side"), "there is no %s listener to send these calls from; add one, or lead the route to the other side", r.Side)
			case err == nil && u.Transport != "" && !slices.Contains(has, u.Transport):
				d.fail(at("routes", i, "to"), "no %s listener has the transport %s; add it to one, or leave it out here", r.Side, u.Transport)
			}
		}
		if r.From != "" && len(transports[r.From]) == 0 {
			d.fail(at("routes", i, "from"), "there is no %s listener, so no call comes from there", r.From)
		}
		if r.Peer != "" {
			d.listedPeer(at("routes", i, "peer"), r.Peer, c)
		}
	}
}

// listedPeer asks that a name is one of the peers'.
func (d *document) listedPeer(path, name string, c *Config) {
	names := make([]string, 0, len(c.Peers))
	for _, p := range c.Peers {
		names = append(names, p.Name)
	}
	switch {
	case slices.Contains(names, name):
	case len(names) == 0:
		d.fail(path, "%s is no listed peer; add it under peers", show(name))
	default:
		d.unknownWord(path, name, names[:min(len(names), 10)])
	}
}

func (d *document) checkPeers(c *Config) {
	domains := map[string]string{}
	networks := map[netip.Prefix]string{}
	anyNetwork := false
	for i, p := range c.Peers {
		for _, domain := range p.Domains {
			domain = strings.ToLower(domain)
			if strings.Trim(domain, "*.") == "" {
				d.fail(at("peers", i, "domains"), "%s would make everybody this peer; write the peer's own domains", show(domain))
			}
			if other, ok := domains[domain]; ok {
				d.fail(at("peers", i, "domains"), "%s is a domain of peer %s as well; a domain belongs to one", show(domain), show(other))
			}
			domains[domain] = p.Name
		}
		for j, n := range p.Networks {
			anyNetwork = true
			if n.Bits() == 0 {
				d.fail(fmt.Sprintf("%s[%d]", at("peers", i, "networks"), j), "%s would make everybody this peer; write the peer's own networks", n)
			}
			if other, ok := networks[n]; ok {
				d.fail(at("peers", i, "networks"), "%s is a network of peer %s as well; a network belongs to one", n, show(other))
			}
			networks[n] = p.Name
		}
	}
	for i, l := range c.Listeners {
		if l.Accept == AcceptPeers && !anyNetwork && !c.registers() && !d.failed("peers") {
			d.fail(at("listeners", i, "accept"), "no listed peer has networks, and by its network alone a peer is let in; add them under peers, or write accept: anyone")
		}
	}
}

func (d *document) checkRules(c *Config) {
	for i, r := range c.Rules.List {
		if policy.Reserved(r.Name) {
			d.fail(at("policy.rules", i, "name"), "%s is the name of a default; choose another", show(r.Name))
		}
	}
}

// checkGroups finds a choice of groups with which no call to the outside could
// agree on keys: the hybrid group does not fit into datagrams and is used over
// TCP only.
func (d *document) checkGroups(c *Config) {
	if slices.Contains(c.Crypto.Groups, groupClassic) || len(c.Crypto.Groups) == 0 {
		return
	}
	for i, l := range c.Listeners {
		if l.Side == policy.Outside && len(l.Transports) > 0 && !slices.Contains(l.Transports, "tcp") && !slices.Contains(l.Transports, tlsTransport) {
			d.fail("crypto.groups", "%s needs the transport tcp, which listeners[%d] does not have; add tcp there, or %s here", groupHybrid, i, groupClassic)
		}
	}
}
