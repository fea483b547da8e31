package configs

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
)

// Registrar says whose phones may register with this sipward.
type Registrar struct {
	On         bool
	Domains    []string // of the phones' addresses, in lower case; the listeners' own addresses stand for the first
	Users      string   // path of the users file, "" where Open is set
	Open       bool     // phones register without a password
	MaxExpires time.Duration
	// Algorithms are the digests that phones are offered, in this order. MD5
	// alone unless said otherwise: phones of today's distributions give up when
	// they see another one beside it.
	Algorithms []string
}

// Emergency says where calls for help go. They come before routes and policy.
type Emergency struct {
	Numbers []string    // digits, as dialled
	To      string      // as in route.Route
	Side    policy.Side // where To is
}

// Bounds of registrar.max_expires, which those of route/registrar contain.
const (
	minExpires     = time.Minute
	maxExpires     = 7 * 24 * time.Hour
	defaultExpires = time.Hour
)

// maxRealm bounds the first domain in octets, which is what passwords are for.
const maxRealm = 255

func (d *document) registrar(v value, c *Config) {
	f := d.section(v, "domains", "users", "open", "max_expires", "algorithms")
	if len(f) == 0 {
		return
	}
	r := &c.Registrar
	r.On, r.MaxExpires, r.Algorithms = true, defaultExpires, []string{"MD5"}
	domains, ok := f["domains"]
	items, paths := d.texts(domains, ok)
	for i, s := range items {
		u, err := route.ParseURI("sip:" + s)
		switch {
		case err != nil || u.User != "" || strings.ContainsAny(s, "*@;?"):
			d.fail(paths[i], "%s is not a domain; write one such as office.example", show(s))
		case u.Port != 0:
			d.fail(paths[i], "%s: a domain has no port; write %s", show(s), u.Host)
		case slices.Contains(r.Domains, u.Host):
			d.fail(paths[i], "%s stands here a second time; keep one", show(s))
		default:
			r.Domains = append(r.Domains, u.Host)
		}
	}
	if open, ok := f["open"]; ok {
		r.Open = d.boolean(open)
	}
	users, ok := f["users"]
	if ok {
		r.Users = d.filePath(users)
	}
	switch {
	case ok && r.Open:
		d.fail(v.path+".open", "true asks for no password, and users holds passwords; keep one of them")
	case ok && len(r.Domains) == 0 && !d.failed(v.path+".domains") && !d.meant[v.path+".domains"]:
		d.fail(v.path+".domains", "is missing; write the domain of your phones' addresses, such as [office.example]: their passwords are for it")
	case !ok && !r.Open && !d.failed(v.path):
		d.fail(v.path+".users", "is missing; write the name of a file with a line user:password for each phone, or open: true for phones of this machine alone")
	}
	if e, ok := f["max_expires"]; ok {
		r.MaxExpires = d.interval(e)
	}
	if a, ok := f["algorithms"]; ok {
		r.Algorithms = nil
		names, paths := d.texts(a, ok)
		for i, name := range names {
			switch {
			case !slices.Contains(algorithms, name):
				d.fail(paths[i], "%s is no digest that is known here; write MD5, SHA-256 or both", show(name))
			case slices.Contains(r.Algorithms, name):
				d.fail(paths[i], "%s stands here a second time; keep one", show(name))
			default:
				r.Algorithms = append(r.Algorithms, name)
			}
		}
		if len(names) == 0 && !d.failed(a.path) {
			d.fail(a.path, "is empty; write [MD5], or [SHA-256, MD5] where every phone knows both")
		}
	}
}

// algorithms are the digests of RFC 8760 that package sip/auth checks.
var algorithms = []string{"MD5", "SHA-256"}

func (d *document) interval(v value) time.Duration {
	s, ok := d.text(v)
	if !ok {
		return defaultExpires
	}
	t, err := time.ParseDuration(s)
	switch {
	case err != nil || t%time.Second != 0:
		d.fail(v.path, "%s is not a time in whole seconds; write one such as 1h, 30m or 90s", show(s))
	case t < minExpires || t > maxExpires:
		d.fail(v.path, "%s is not from 1m to 168h; phones register again within this time", s)
	default:
		return t
	}
	return defaultExpires
}

func (d *document) alias(v value) route.Alias {
	var a route.Alias
	f := d.mapping(v, "number", "to")
	if f == nil {
		return a
	}
	if n, ok := d.need(v.path, f, "number", `a number or pattern such as "+4930123" or "+49301*"`); ok {
		if s, ok := d.text(n); ok {
			p, err := route.ParsePattern(dialled(s))
			if err != nil {
				d.fail(n.path, "%v", err)
			}
			a.Match = p
		}
	}
	to, ok := d.need(v.path, f, "to", "an address such as sip:alice@office.example")
	if !ok {
		return a
	}
	s, ok := d.text(to)
	if !ok {
		return a
	}
	u, err := route.ParseNextHop(s)
	switch {
	case err != nil:
		d.fail(to.path, "%v; write one such as sip:alice@office.example", err)
	case u.User == "":
		d.fail(to.path, "%s names no user; write one such as sip:alice@%s, or sip:*@%[2]s to keep the number", show(s), u.Host)
	default:
		a.To = s
	}
	return a
}

// dialled takes the separators out of what is a telephone number: they are not
// sent, and a dot would make it a domain.
func dialled(s string) string {
	if strings.Trim(s, "+0123456789*#-.() ") != "" || strings.Trim(s, "*-.() ") == "" {
		return s
	}
	return strings.NewReplacer("-", "", ".", "", "(", "", ")", "", " ", "").Replace(s)
}

// behindStar returns what follows the @ of an address whose user is a star.
func behindStar(uri string) (rest string, star bool) {
	user, rest, both := strings.Cut(uri, "@")
	return rest, both && strings.HasSuffix(user, ":*")
}

func (d *document) emergency(v value, c *Config) {
	f := d.section(v, "numbers", "to", "side")
	if len(f) == 0 {
		return
	}
	e := &c.Emergency
	numbers, ok := d.need(v.path, f, "numbers", "those of your country, such as [110, 112]")
	if ok {
		before := len(d.problems)
		items, paths := d.texts(numbers, true)
		for i, s := range items {
			if len(s) < 2 || len(s) > 8 || strings.Trim(s, "0123456789") != "" {
				d.fail(paths[i], "%s is not an emergency number; write 2 to 8 digits, such as 112", show(s))
				continue
			}
			e.Numbers = append(e.Numbers, s)
		}
		if len(items) == 0 && len(d.problems) == before {
			d.fail(numbers.path, "is empty; write those of your country, such as [110, 112]")
		}
	}
	if to, ok := d.need(v.path, f, "to", `where they are answered, such as sip:192.0.2.1 or "sip:*@trunk.example"`); ok {
		if s, ok := d.text(to); ok {
			if _, err := route.ParseNextHop(s); err != nil {
				d.fail(to.path, `%v; write one such as sip:192.0.2.1 or "sip:*@trunk.example"`, err)
			} else {
				e.To = s
			}
		}
	}
	if side, ok := f["side"]; ok {
		e.Side = policy.Side(d.word(side, sides...))
	} else if e.To != "" {
		e.Side = c.sideOf(e.To)
	}
}

// sideOf is where an address is: inside where it is of a network that may use an
// inside listener.
func (c *Config) sideOf(uri string) policy.Side {
	u, err := route.ParseURI(uri)
	if err != nil {
		return policy.Outside
	}
	addr, err := netip.ParseAddr(u.Host)
	if err != nil {
		return policy.Outside
	}
	for _, l := range c.Listeners {
		if l.Side == policy.Inside && within(l.Networks, addr) {
			return policy.Inside
		}
	}
	return policy.Outside
}

// EmergencyTarget returns where calls for help go; its Host is "" where they are
// calls like others. The number called stays as it is unless To names a user.
func (c *Config) EmergencyTarget() route.Target {
	u, err := route.ParseNextHop(c.Emergency.To)
	if err != nil {
		return route.Target{}
	}
	t := route.Target{URI: c.Emergency.To, Network: u.Transport, Host: u.Host, Port: u.Port, Side: string(c.Emergency.Side), Rule: "emergency"}
	if rest, star := behindStar(t.URI); star {
		t.URI = "sip:" + rest
	}
	if t.Side == route.Outside {
		addr, _ := netip.ParseAddr(u.Host)
		t.Peer = c.PeerFor(u.Host, addr)
	}
	return t
}

// checkRegistrar looks at what the registrar has to do with the rest.
func (d *document) checkRegistrar(c *Config) {
	for i, domain := range c.Registrar.Domains {
		if i == 0 && len(domain) > maxRealm {
			d.fail("registrar.domains", "the first domain is longer than %d octets", maxRealm)
		}
		if peer := c.PeerFor(domain, netip.Addr{}); peer != "" {
			d.fail("registrar.domains", "%s is a domain of peer %s as well; calls to it would stay here", show(domain), show(peer))
		}
	}
	if !c.Registrar.Open {
		return
	}
	for i, l := range c.Listeners {
		local := !slices.ContainsFunc(l.Networks, func(n netip.Prefix) bool { return !loopback(n) })
		if l.Side == policy.Inside && (!l.Address.IP.IsLoopback() || !local) && (l.Address.Auto || l.Address.IP.IsValid()) {
			d.fail("registrar.open", "whoever reaches listeners[%d] could take calls without a password; let it listen at 127.0.0.1 for this machine alone, or write users: FILE", i)
		}
	}
}

func loopback(n netip.Prefix) bool {
	return n.Addr().IsLoopback() && (n.Addr().Is6() && n.Bits() == 128 || n.Addr().Is4() && n.Bits() >= 8)
}

// checkEmergency asks for a listener from which the calls can be sent.
func (d *document) checkEmergency(c *Config) {
	e := c.Emergency
	if e.Side == "" || e.To == "" || slices.ContainsFunc(c.Listeners, func(l Listener) bool { return l.Side == "" }) {
		return
	}
	u, _ := route.ParseNextHop(e.To)
	found := false
	for _, l := range c.Listeners {
		found = found || l.Side == e.Side && (u.Transport == "" || slices.Contains(l.Transports, u.Transport))
	}
	switch {
	case found:
	case u.Transport != "":
		d.fail("emergency.to", "no %s listener has the transport %s; add it to one, or leave it out here", e.Side, u.Transport)
	default:
		d.fail("emergency.to", "it is on the %s, and there is no %[1]s listener to send these calls from; add one, or write side: %s", e.Side, other(e.Side))
	}
}

func other(s policy.Side) policy.Side {
	if s == policy.Inside {
		return policy.Outside
	}
	return policy.Inside
}
