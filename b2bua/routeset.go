package b2bua

import (
	"errors"
	"strings"
	"time"

	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/sip"
)

// Bounds of a Route set that somebody else has written.
const (
	maxRoutes     = 8
	maxRoutesText = 2048 // octets
)

// routeSet checks the values of Path or Service-Route fields: SIP URIs of loose
// routers (RFC 3327 section 4, RFC 3608 section 5), not too many.
func routeSet(values []string) ([]string, error) {
	size := 0
	for _, v := range values {
		size += len(v)
		a, err := sip.ParseAddress(v)
		if err != nil || !callable(a.URI) {
			return nil, errors.New("not the address of a proxy")
		}
		if _, loose := a.URI.Param("lr"); !loose {
			return nil, errors.New("a proxy without lr")
		}
	}
	if len(values) > maxRoutes || size > maxRoutesText {
		return nil, errors.New("more proxies than are taken")
	}
	return values, nil
}

// firstHop leads a target to the first of a Route set (RFC 3261 section 8.1.2).
func firstHop(t route.Target, routes []string) route.Target {
	a, err := sip.ParseAddress(routes[0])
	if err != nil {
		return t // routeSet has seen to it
	}
	network, _ := a.URI.Param("transport")
	t.Host, t.Port, t.Network = a.URI.Host, a.URI.Port, strings.ToLower(network)
	if a.URI.Scheme == "sips" {
		t.Network = "tls"
	}
	return t
}

// alongServices leads a call of a phone that has registered elsewhere over the
// proxies that its registrar has named, where the call is for the registrar's
// domain and would go to the registrar's next hop otherwise. It returns the
// Route set of the call.
func (p *Proxy) alongServices(in *sip.Incoming, l *listener, t route.Target) (route.Target, []string) {
	from := in.From().URI
	if l.Side != policyInside || t.Side != route.Outside || !strings.EqualFold(in.URI.Host, from.Host) || p.trunk(t.Peer) != nil {
		return t, nil
	}
	b, ok := p.up.of(from, in.Flow, time.Now())
	if !ok || len(b.services) == 0 || !strings.EqualFold(b.way.Host, t.Host) {
		return t, nil
	}
	return firstHop(t, b.services), b.services
}
