package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/sipward/sipward/configs"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/sip/auth"
)

// Bounds of a look at the world.
const (
	lookupWithin = 5 * time.Second // for all names together
	lookupAtOnce = 8
	maxLookups   = 200
)

// checkWorld looks at what a configuration that is right by itself needs of the
// world: ports and addresses are problems, everything else is warned of.
func checkWorld(ctx context.Context, cfg *configs.Config, l route.Lookup) configs.Errors {
	w := &world{cfg: cfg}
	w.ports()
	w.clock(time.Now(), built())
	w.names(ctx, l)
	return w.found
}

type world struct {
	cfg   *configs.Config
	mu    sync.Mutex
	found configs.Errors
}

func (w *world) fail(key, format string, args ...any) {
	w.add(w.cfg.Problem(key, format, args...))
}

func (w *world) warn(key, format string, args ...any) {
	p := w.cfg.Problem(key, format, args...)
	p.Warning = true
	w.add(p)
}

func (w *world) add(p configs.Problem) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.found = append(w.found, p)
}

// ports opens every socket and closes it again.
func (w *world) ports() {
	for i, l := range w.cfg.Listeners {
		for _, g := range portGroups(l) {
			addr, err := configs.ResolveAddress(l.AddressOf(g.transports[0]))
			if err != nil {
				w.fail(g.key(i), "%v", err)
				continue
			}
			for _, t := range g.transports {
				w.port(g.key(i), t, addr)
			}
		}
	}
	if !w.cfg.API.Off {
		w.port("api.listen", "tcp", w.cfg.API.Listen)
	}
}

func (w *world) port(key, network string, addr netip.AddrPort) {
	s, err := open(network, addr)
	if err == nil {
		s.close()
		return
	}
	f := listenFault(network, addr, err)
	if strings.HasPrefix(f.holder, "sipward (pid ") {
		w.warn(key, "%v (%s) is in use by %s, which is all right if that one runs with this configuration", addr, network, f.holder)
		return
	}
	what := f.what
	if f.holder != "" {
		what += "; take another port" + f.or
	}
	w.fail(key, "cannot listen on %v (%s): %s", addr, network, what)
}

// earliest is before any sipward was built.
var earliest = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// built is when the source of this program was last changed, the zero time where
// the build did not know it.
func built() time.Time {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return time.Time{}
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			t, _ := time.Parse(time.RFC3339, s.Value)
			return t
		}
	}
	return time.Time{}
}

// clock warns of one that cannot be right: certificates seem not to hold then, and
// records have the wrong time.
func (w *world) clock(now, built time.Time) {
	const day = 24 * time.Hour
	why := ""
	switch {
	case !built.IsZero() && now.Before(built.Add(-day)):
		why = "this program was built later, " + built.UTC().Format(time.DateOnly)
	case now.Before(earliest):
		why = "no sipward is that old"
	case !built.IsZero() && now.After(built.Add(20*365*day)):
		why = "this program would be more than 20 years old"
	default:
		return
	}
	w.add(configs.Problem{Message: fmt.Sprintf("the clock of this machine says %s, but %s; set it", now.UTC().Format(time.DateOnly), why), Warning: true})
}

// lookup is a name that calls need.
type lookup struct {
	key, host, purpose string
	find               func(context.Context, route.Lookup) error
}

// names looks up every name that calls need, at the same time and not for long.
func (w *world) names(ctx context.Context, l route.Lookup) {
	ctx, cancel := context.WithTimeout(ctx, lookupWithin)
	defer cancel()
	lookups := w.lookups()
	if len(lookups) > maxLookups {
		w.warn(lookups[maxLookups].key, "only the first %d names were looked up", maxLookups)
		lookups = lookups[:maxLookups]
	}
	room := make(chan struct{}, lookupAtOnce)
	var all sync.WaitGroup
	for _, n := range lookups {
		all.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			if err := n.find(ctx, l); err != nil {
				w.warn(n.key, "%s was not found (%s): %s", n.host, lookupFault(err), n.purpose)
			}
		})
	}
	all.Wait()
}

// lookups gathers the names, each once.
func (w *world) lookups() []lookup {
	var out []lookup
	seen := map[route.Target]bool{}
	target := func(key string, t route.Target, purpose string) {
		t = route.Target{Host: t.Host, Port: t.Port, Network: t.Network}
		if _, err := netip.ParseAddr(t.Host); err == nil || t.Host == "" || seen[t] {
			return
		}
		seen[t] = true
		out = append(out, lookup{key, t.Host, purpose, func(ctx context.Context, l route.Lookup) error {
			_, err := route.Resolve(ctx, l, t)
			return err
		}})
	}
	uri := func(key, s, purpose string) {
		if u, err := route.ParseURI(s); err == nil {
			target(key, route.Target{Host: u.Host, Port: u.Port, Network: u.Transport}, purpose)
		}
	}
	outside := false
	for i, l := range w.cfg.Listeners {
		outside = outside || l.Side == policy.Outside
		if l.Advertise.Name == "" {
			continue
		}
		addr, err := configs.ResolveAddress(l.Address)
		if err != nil {
			continue // which is a problem already
		}
		out = append(out, lookup{fmt.Sprintf("listeners[%d].advertise", i), l.Advertise.Name, "sipward would not start", func(ctx context.Context, lk route.Lookup) error {
			_, err := configs.ResolveAdvertise(ctx, lk, l.Advertise, addr)
			return err
		}})
	}
	for i, r := range w.cfg.StaticRoutes {
		uri(fmt.Sprintf("routes[%d].to", i), r.To, "calls that take this route fail")
	}
	for i, t := range w.cfg.Trunks {
		if t.Register {
			uri(fmt.Sprintf("trunks[%d].server", i), t.Server, "sipward cannot register with the provider")
		}
	}
	uri("emergency.to", w.cfg.Emergency.To, "calls for help fail")
	routes := w.cfg.Routes()
	routed := func(s string) bool {
		_, ok := routes.LookupFrom(route.Inside, s)
		return ok
	}
	for i, a := range w.cfg.AliasList {
		u, err := route.ParseURI(a.To)
		if err == nil && !routed(a.To) && !w.own(u.Host) {
			uri(fmt.Sprintf("aliases[%d].to", i), a.To, "calls to this number fail")
		}
	}
	for i, p := range w.cfg.Peers {
		for j, domain := range p.Domains {
			if !strings.Contains(domain, "*") && !routed("sip:anybody@"+domain) {
				uri(fmt.Sprintf("peers[%d].domains[%d]", i, j), "sip:"+domain, "calls to this peer fail, unless a route leads there")
			}
		}
	}
	if outside {
		for i, domain := range w.cfg.Registrar.Domains {
			target(fmt.Sprintf("registrar.domains[%d]", i), route.Target{Host: domain}, "nobody outside can call the phones by it")
		}
	}
	return out
}

func (w *world) own(host string) bool {
	for _, d := range w.cfg.Registrar.Domains {
		if strings.EqualFold(d, host) {
			return true
		}
	}
	return false
}

// lookupFault says in a few words why a name was not found.
func lookupFault(err error) string {
	dns, ok := errors.AsType[*net.DNSError](err)
	switch {
	case errors.Is(err, context.DeadlineExceeded) || ok && dns.IsTimeout:
		return "DNS does not answer"
	case ok && dns.IsNotFound:
		return "DNS does not know it"
	}
	return clean(err.Error())
}

// checkCapacity compares the ports for sound with the calls that are expected: the
// number that is given, or else one for each user.
func checkCapacity(cfg *configs.Config, calls int) configs.Errors {
	fit := cfg.Media.Calls()
	p := cfg.Problem("media.ports", "%d to %d is enough for %d calls at once", cfg.Media.PortMin, cfg.Media.PortMax, fit)
	switch {
	case calls > fit:
		p.Message += fmt.Sprintf(", not for %d; a call takes 4 ports", calls)
		return configs.Errors{p}
	case calls > 0 || cfg.Registrar.Users == "":
		return nil
	}
	users, err := auth.OpenUsers(cfg.Registrar.Users, cfg.Registrar.Domains[0])
	if err != nil || users.Len() <= fit {
		return nil
	}
	p.Message += fmt.Sprintf(", and %s has %d users; a call takes 4 ports (--calls N says how many you expect)", cfg.Registrar.Users, users.Len())
	p.Warning = true
	return configs.Errors{p}
}
