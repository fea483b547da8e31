package main

import (
	"fmt"
	"net/netip"

	"github.com/sipward/sipward/configs"
	"github.com/sipward/sipward/demo"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
)

// echoUser is the user of the test address.
const echoUser = "echo"

// openEcho starts the test address beside the first inside listener, and returns it
// with the routes that lead there: from both sides, for every name and address of
// this sipward.
func (d *daemon) openEcho() (routes []route.Route, err error) {
	if !d.cfg.TestAddresses {
		return nil, nil
	}
	var hosts []string
	inside := netip.Addr{}
	for _, s := range d.sockets {
		if d.cfg.Listeners[s.listener].Side == policy.Inside && !inside.IsValid() {
			inside = s.addr.Addr()
		}
		hosts = append(hosts, bracket(s.addr.Addr()))
		if s.advertise.IsValid() {
			hosts = append(hosts, bracket(s.advertise.Addr()))
		}
	}
	if d.echo, err = demo.NewEcho(demo.EchoOptions{Addr: inside, Log: d.log}); err != nil {
		return nil, fmt.Errorf("the test address: %w", err)
	}
	return echoRoutes(d.cfg, hosts, d.echo.URI())
}

// echoRoutes lead from the test address, under each name that stands for this
// sipward, to where it answers.
func echoRoutes(cfg *configs.Config, hosts []string, to string) (routes []route.Route, err error) {
	for _, domain := range cfg.Registrar.Domains {
		if addr, err := netip.ParseAddr(domain); err == nil {
			domain = bracket(addr)
		}
		hosts = append(hosts, domain)
	}
	seen := map[string]bool{}
	for _, host := range hosts {
		if seen[host] {
			continue
		}
		seen[host] = true
		match, err := route.ParsePattern(echoUser + "@" + host)
		if err != nil {
			return nil, err
		}
		routes = append(routes, route.Route{Match: match, To: to, Side: route.Inside})
	}
	return routes, nil
}
