package configs

import (
	"net/netip"
	"slices"
	"strconv"

	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
)

// Listener is a socket, or one for each transport, that takes SIP messages.
type Listener struct {
	Name       string
	Side       policy.Side
	Address    Address
	Advertise  Advertise
	Transports []string // udp, tcp, tls
	TLS        TLS
	Networks   []netip.Prefix  // inside: who may use it; never empty there
	Accept     string          // outside: AcceptAnyone or AcceptPeers
	Identities []route.Pattern // inside: whom its phones speak for without a password; see SpeaksFor
	Accounts   string          // inside: AccountsOwn or AccountsElsewhere; "": either, which only phones without passwords here may
	SDES       string          // inside: SDESLearn, SDESAlways or SDESOff; outside ""
	DTMF       string          // inside: DTMFPass or DTMFInfo; outside ""
}

// TLS is what a listener with the transport tls shows to its clients.
type TLS struct {
	Certificate string // path of the PEM file with the certificate and those that lead to its issuer
	Key         string // path of the PEM file with its private key
	ClientCA    string // path of the PEM file with the issuers of clients' certificates; "": clients need none
	CA          string // path of the PEM file with the issuers of called peers' certificates; "": those that the system trusts
	Port        uint16 // 0: a free one
}

const tlsTransport = "tls"

// AddressOf returns where a listener listens for one of its transports: tls has a
// port of its own.
func (l Listener) AddressOf(transport string) Address {
	a := l.Address
	if transport == tlsTransport {
		a.Port = l.TLS.Port
	}
	return a
}

var transports = []string{"udp", "tcp", tlsTransport}

func (d *document) listener(v value) Listener {
	l := Listener{Transports: []string{"udp", "tcp"}, Accept: AcceptAnyone, SDES: SDESLearn, DTMF: DTMFPass}
	f := d.mapping(v, "name", "side", "address", "advertise", "transports", "tls", "networks", "accept", "accounts", "identities", "sdes", "dtmf")
	if f == nil {
		return l
	}
	l.Name = d.name(v.path, f)
	if side, ok := d.need(v.path, f, "side", "inside or outside"); ok {
		l.Side = policy.Side(d.word(side, sides...))
	}
	if addr, ok := d.need(v.path, f, "address", "one such as "+addressForms); ok {
		if s, ok := d.text(addr); ok {
			var err error
			if l.Address, err = parseAddress(s); err != nil {
				d.fail(addr.path, "%v", err)
			} else if l.Address.IP.IsUnspecified() {
				d.fail(addr.path, "%s stands for every address of this machine; write one of them, or auto:%d for that of the default route", s, l.Address.Port)
			}
		}
	}
	if a, ok := f["advertise"]; ok {
		l.Advertise = d.advertise(a, l.Address)
	}
	if t, ok := f["transports"]; ok {
		l.Transports = d.knownWords(t, transports, "udp and tcp")
	}
	d.tls(v.path, f, &l)
	l.Networks = d.networks(f)
	if n, ok := f["networks"]; ok && l.Side == policy.Outside {
		d.fail(n.path, "says who may use an inside listener; an outside one has accept: peers, with the networks of the peers")
	}
	if a, ok := f["accept"]; ok {
		l.Accept = d.word(a, AcceptAnyone, AcceptPeers)
		if l.Side == policy.Inside {
			d.fail(a.path, "is for outside listeners; an inside one has networks")
		}
	}
	if a, ok := f["accounts"]; ok {
		l.Accounts = d.word(a, AccountsOwn, AccountsElsewhere)
		if l.Side == policy.Outside {
			d.fail(a.path, "is for inside listeners: nobody has an account for an outside one")
		}
	}
	if s, ok := f["sdes"]; ok {
		l.SDES = d.word(s, SDESLearn, SDESAlways, SDESOff)
		if l.Side == policy.Outside {
			d.fail(s.path, "is for inside listeners: the keys of calls outside come by the exchange")
		}
	}
	if s, ok := f["dtmf"]; ok {
		l.DTMF = d.word(s, DTMFPass, DTMFInfo)
		if l.Side == policy.Outside {
			d.fail(s.path, "is for inside listeners: outside, digits are beside the speech and protected with it")
		}
	}
	if l.Side == policy.Outside {
		l.SDES, l.DTMF = "", ""
	}
	d.identities(f, &l)
	if l.Side == policy.Inside {
		l.Accept = ""
		if _, ok := f["networks"]; !ok && l.Address.IP.IsLoopback() {
			l.Networks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
		}
	}
	return l
}

func (d *document) advertise(v value, address Address) Advertise {
	s, ok := d.text(v)
	if !ok {
		return Advertise{}
	}
	a, err := parseAdvertise(s)
	switch {
	case err != nil:
		d.fail(v.path, "%v", err)
	case a.IP.IsValid() && address.IP.IsValid() && a.IP.Is4() != address.IP.Is4():
		d.fail(v.path, "%s and the address %s are not of the same kind; give IPv4 and IPv6 a listener each", a.IP, address.IP)
	}
	return a
}

// tls reads the section of a listener's certificate, which is there where the
// transport is.
func (d *document) tls(path string, f map[string]value, l *Listener) {
	const defaultPort = 5061 // RFC 3261 section 19.1.2
	has := slices.Contains(l.Transports, tlsTransport)
	section, ok := f["tls"]
	if !has {
		if ok && !d.failed(path+".transports") {
			d.fail(section.path, "is for the transport tls, which this listener does not have; write transports: [udp, tcp, tls]")
		}
		return
	}
	alone := len(l.Transports) == 1
	if l.TLS.Port = defaultPort; alone || l.Address.Port == 0 {
		l.TLS.Port = l.Address.Port
	}
	if !ok {
		if !d.meant[path+".tls"] {
			d.fail(path+".tls", "is missing; write {certificate: FILE, key: FILE}")
		}
		return
	}
	t := d.mapping(section, "certificate", "key", "client_ca", "ca", "port")
	if t == nil {
		return
	}
	if v, ok := d.need(section.path, t, "certificate", "the name of a file with the certificate in PEM"); ok {
		l.TLS.Certificate = d.filePath(v)
	}
	if v, ok := d.need(section.path, t, "key", "the name of a file with the private key in PEM"); ok {
		l.TLS.Key = d.filePath(v)
	}
	if v, ok := t["client_ca"]; ok {
		l.TLS.ClientCA = d.filePath(v)
	}
	if v, ok := t["ca"]; ok {
		l.TLS.CA = d.filePath(v)
	}
	port, ok := t["port"]
	if !ok {
		return
	}
	s, ok := d.text(port)
	if !ok {
		return
	}
	n, err := strconv.ParseUint(s, 10, 16)
	switch {
	case err != nil:
		d.fail(port.path, "%s is not a port; write one from 1 to 65535", show(s))
	case alone:
		d.fail(port.path, "tls is the only transport here, so that the port in address is its own; leave this one out")
	default:
		l.TLS.Port = uint16(n)
	}
}
