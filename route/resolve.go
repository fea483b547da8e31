package route

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

const (
	defaultPort   = 5060             // RFC 3261 section 19.1.2, udp and tcp
	securePort    = 5061             // the same, tls
	maxHops       = 32               // addresses tried for one target
	maxRecords    = 16               // SRV records looked at for one transport
	resolveWithin = 10 * time.Second // whole of a resolution; a caller hears nothing meanwhile
)

// Hop is one address to try.
type Hop struct {
	Network string         // udp, tcp or tls
	Addr    netip.AddrPort // where to send to
	Host    string         // name that led here, for messages and logs
}

// Lookup is the DNS as [Resolve] needs it; [*net.Resolver] satisfies it. SRV
// records of equal priority are expected in the order drawn by their weights
// (RFC 2782), as net.Resolver gives them.
type Lookup interface {
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Resolve finds the addresses of a target, in the order to try them, by RFC 3263
// section 4 without NAPTR: an IP address is itself; a name with a port is looked
// up as A and AAAA; any other name as SRV, for udp and then tcp unless the target
// names its transport, every record with all its addresses; a name without SRV
// records as A and AAAA again, at port 5060, with tls 5061. The transport is udp
// where nothing says otherwise; tls only where the target does.
//
// It returns at least one and at most 32 hops, none twice, or an error that names
// what was looked up. It takes at most 10 seconds, less when ctx ends.
func Resolve(ctx context.Context, l Lookup, t Target) ([]Hop, error) {
	if t.Host == "" {
		return nil, fmt.Errorf("%s has no host to send to", quote(t.URI))
	}
	if t.Port < 0 || t.Port > 65535 {
		return nil, fmt.Errorf("%s: port %d is not from 1 to 65535", quote(t.Host), t.Port)
	}
	switch t.Network {
	case "", "udp", "tcp", "tls":
	default:
		return nil, fmt.Errorf("%s: transport %s is not udp, tcp or tls", quote(t.Host), quote(t.Network))
	}
	port := defaultPort
	if t.Network == "tls" {
		port = securePort
	}
	ctx, cancel := context.WithTimeout(ctx, resolveWithin)
	defer cancel()
	r := resolution{ctx: ctx, lookup: l}
	if addr, err := netip.ParseAddr(strings.Trim(t.Host, "[]")); err == nil {
		r.add(cmp.Or(t.Network, "udp"), t.Host, cmp.Or(t.Port, port), addr)
		if len(r.hops) == 0 {
			return nil, fmt.Errorf("%s is not the address of one host", addr)
		}
		return r.hops, nil
	}
	if t.Port == 0 {
		networks := []string{"udp", "tcp"}
		if t.Network != "" {
			networks = []string{t.Network}
		}
		if done, err := r.services(t.Host, networks); done {
			return r.hops, err
		}
	}
	err := r.addresses(cmp.Or(t.Network, "udp"), t.Host, cmp.Or(t.Port, port))
	if len(r.hops) == 0 {
		return nil, err
	}
	return r.hops, nil
}

// resolution gathers the hops of one target.
type resolution struct {
	ctx    context.Context
	lookup Lookup
	hops   []Hop
}

// services looks up SRV records. done is false where the name has none, so that
// its addresses are asked for instead; a lookup that failed is not that answer.
func (r *resolution) services(name string, networks []string) (done bool, err error) {
	var errs []error
	refused := 0
	for _, network := range networks {
		service, proto := "sip", network
		if network == "tls" {
			service, proto = "sips", "tcp" // RFC 3263 section 4.1
		}
		_, records, err := r.lookup.LookupSRV(r.ctx, service, proto, name)
		if len(records) == 0 {
			if err != nil && !notFound(err) {
				errs = append(errs, fmt.Errorf("looking up SRV _%s._%s.%s: %w", service, proto, name, err))
			}
			continue
		}
		slices.SortStableFunc(records, func(a, b *net.SRV) int { return cmp.Compare(a.Priority, b.Priority) })
		if len(records) == 1 && (records[0].Target == "." || records[0].Target == "") {
			refused++ // RFC 2782: decidedly not available
			continue
		}
		for _, record := range records[:min(len(records), maxRecords)] {
			if record.Port == 0 {
				errs = append(errs, fmt.Errorf("SRV _%s._%s.%s names port 0", service, proto, name))
				continue
			}
			host := strings.TrimSuffix(record.Target, ".")
			if err := r.addresses(network, host, int(record.Port)); err != nil {
				errs = append(errs, err)
			}
		}
	}
	switch {
	case len(r.hops) > 0:
		return true, nil
	case len(errs) > 0:
		return true, errors.Join(errs...)
	case refused > 0:
		return true, fmt.Errorf("%s says in its SRV records that it takes no SIP calls", name)
	}
	return false, nil
}

// addresses looks up A and AAAA and adds what they name.
func (r *resolution) addresses(network, host string, port int) error {
	if len(r.hops) >= maxHops {
		return nil
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		r.add(network, host, port, addr) // not by the RFC, but seen in SRV records
		return nil
	}
	addrs, err := r.lookup.LookupNetIP(r.ctx, "ip", host)
	if err != nil {
		return fmt.Errorf("looking up the address of %s: %w", host, err)
	}
	before := len(r.hops)
	for _, addr := range addrs {
		r.add(network, host, port, addr)
	}
	if len(r.hops) == before {
		return fmt.Errorf("looking up the address of %s: no further address that calls can be sent to", host)
	}
	return nil
}

// add keeps an address that one host can have and that is not there yet.
func (r *resolution) add(network, host string, port int, addr netip.Addr) {
	addr = addr.Unmap()
	if !addr.IsValid() || addr.IsUnspecified() || addr.IsMulticast() || addr == broadcast || len(r.hops) >= maxHops {
		return
	}
	hop := Hop{Network: network, Addr: netip.AddrPortFrom(addr, uint16(port)), Host: host}
	for _, h := range r.hops {
		if h.Network == hop.Network && h.Addr == hop.Addr {
			return
		}
	}
	r.hops = append(r.hops, hop)
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

func notFound(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound
}
