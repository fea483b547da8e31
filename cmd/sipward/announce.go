package main

import (
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
)

// notices tells who runs a sipward what is listened on and which phones register:
// a person at one computer reads it on standard output, everybody else in the log.
type notices struct {
	out    io.Writer
	log    *slog.Logger
	person bool

	mu    sync.Mutex
	known map[string]bool // phones that were told of: they register again and again
}

// maxKnown bounds the phones that are remembered for it.
const maxKnown = 1000

// write has something written between the notices.
func (n *notices) write(f func(io.Writer)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f(n.out)
}

// registered tells of a contact that was bound or taken back.
func (n *notices) registered(user, contact string, bound bool) {
	phone := user + "\n" + contact
	n.mu.Lock()
	defer n.mu.Unlock()
	if bound == n.known[phone] && contact != "*" {
		return
	}
	switch {
	case contact == "*":
		n.known = nil
	case !bound:
		delete(n.known, phone)
	case n.known == nil || len(n.known) >= maxKnown:
		n.known = map[string]bool{phone: true}
	default:
		n.known[phone] = true
	}
	text := "phone registered"
	if !bound {
		text = "phone has signed off"
	}
	if !n.person {
		n.log.Info(text, "user", user, "contact", contact)
		return
	}
	if contact == "*" {
		contact = "all its places"
	}
	fmt.Fprintf(n.out, "%s %s: %s at %s\n", time.Now().Format("15:04:05"), text, clean(user), clean(contact))
}

// announce says what is listened on and what to enter in a phone.
func (d *daemon) announce(out io.Writer) {
	fmt.Fprintf(out, "sipward is ready, configuration: %s\n", d.cfg.File)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, p := range d.places() {
		shown := ""
		if p.advertise.IsValid() && p.advertise != p.addr {
			shown = fmt.Sprintf(", known to others as %v", p.advertise)
		}
		fmt.Fprintf(w, "  %s\t%v\t%s%s\n", p.side, p.addr, strings.Join(p.networks, " and "), shown)
	}
	if url := d.APIURL(); url != "" {
		fmt.Fprintf(w, "  API\t%s\t\n", url)
	}
	w.Flush()
	if d.phones != nil && d.phones.challenger == nil {
		d.announceAccount(out)
	} else {
		d.announceProxies(out)
	}
	if to, ok := ringsAt(d.cfg.StaticRoutes); ok {
		fmt.Fprintf(out, "  Calls from outside go to %s: let the phone or PBX listen there.\n", to)
	}
	d.announceTests(out)
	if isBuiltIn(d.cfg) {
		fmt.Fprintln(out, "  Other settings: sipward run --config FILE")
	}
}

// place is one address that is listened at.
type place struct {
	side            policy.Side
	addr, advertise netip.AddrPort
	networks        []string
}

// places are the sockets, those of one address together.
func (d *daemon) places() []place {
	var places []place
	for _, s := range d.sockets {
		if n := len(places) - 1; n >= 0 && places[n].addr == s.addr {
			places[n].networks = append(places[n].networks, s.network)
			continue
		}
		places = append(places, place{d.cfg.Listeners[s.listener].Side, s.addr, s.advertise, []string{s.network}})
	}
	return places
}

// announceProxies names what phones send their calls to.
func (d *daemon) announceProxies(out io.Writer) {
	var proxies []string
	for _, p := range d.places() {
		if p.side == policy.Inside {
			proxies = append(proxies, fmt.Sprintf("%v (%s)", p.addr, strings.Join(p.networks, " or ")))
		}
	}
	fmt.Fprintf(out, "  In the phone enter the outbound proxy %s.\n", strings.Join(proxies, " or "))
	if d.phones != nil {
		r := d.cfg.Registrar
		fmt.Fprintf(out, "  Phones register as NAME@%s, with their passwords in %s.\n", r.Domains[0], r.Users)
	}
}

// announceAccount says, setting by setting, what a softphone that needs no password
// is told.
func (d *daemon) announceAccount(out io.Writer) {
	var inside, outside place
	for _, p := range d.places() {
		if p.side == policy.Inside && !inside.addr.IsValid() {
			inside = p
		}
		if p.side == policy.Outside && !outside.addr.IsValid() {
			outside = p
		}
	}
	domain := d.home()
	fmt.Fprintln(out, "  In your softphone make an account:")
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range [][2]string{
		{"user name", "any name, such as me"},
		{"password", "none: leave it empty"},
		{"server or domain", domain},
		{"outbound proxy", inside.addr.String()},
		{"transport", strings.ReplaceAll(strings.ToUpper(strings.Join(inside.networks, "+")), "+", " or ")},
		{"encryption", "off (SRTP, ZRTP and TLS): sipward encrypts"},
	} {
		fmt.Fprintf(w, "    %s\t%s\n", row[0], row[1])
	}
	w.Flush()
	if outside.addr.IsValid() {
		at := outside.addr
		if outside.advertise.IsValid() {
			at = outside.advertise
		}
		fmt.Fprintf(out, "  Others then reach you as sip:NAME@%v, with your user name for NAME.\n", at)
	}
}

// ringsAt is where the calls go that come from outside, as the last route for
// them says: the ones before it are exceptions.
func ringsAt(routes []route.Route) (to string, ok bool) {
	for _, r := range routes {
		if r.Side != route.Inside || r.From == route.Inside {
			continue
		}
		if u, err := route.ParseNextHop(r.To); err == nil {
			port := u.Port
			if port == 0 {
				port = 5060
			}
			to, ok = fmt.Sprintf("%s port %d", u.Host, port), true
		}
	}
	return to, ok
}
