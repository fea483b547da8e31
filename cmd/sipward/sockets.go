package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/sipward/sipward/configs"
)

// socket is an open socket of a listener; one of packet and stream is set.
type socket struct {
	listener  int    // index in the configuration
	network   string // udp, tcp or tls
	addr      netip.AddrPort
	advertise netip.AddrPort // what messages name instead, the zero value for addr
	packet    net.PacketConn
	stream    net.Listener
}

func (s socket) close() {
	if s.packet != nil {
		s.packet.Close()
	}
	if s.stream != nil {
		s.stream.Close()
	}
}

// freePortTries bounds the search for a port that is free for every transport.
const freePortTries = 16

// openListeners opens every transport of every listener, or nothing. The error
// says which key of the configuration to change.
func openListeners(cfg *configs.Config) (sockets []socket, err error) {
	defer func() {
		if err != nil {
			for _, s := range sockets {
				s.close()
			}
			sockets = nil
		}
	}()
	for i, l := range cfg.Listeners {
		for _, group := range portGroups(l) {
			key := group.key(i)
			addr, err := configs.ResolveAddress(l.AddressOf(group.transports[0]))
			if err != nil {
				return sockets, fmt.Errorf("cannot listen on %w; %s", err, toChange(cfg, key))
			}
			// The file was checked for this, but what auto stands for only this
			// machine knows.
			for _, s := range sockets {
				for _, t := range group.transports {
					if s.addr == addr && carrier(s.network) == carrier(t) && addr.Port() != 0 {
						return sockets, fmt.Errorf("cannot listen on %v (%s): listener %s is there already; %s", addr, t, cfg.Listeners[s.listener].Name, toChange(cfg, key))
					}
				}
			}
			opened, network, err := openTransports(i, group.transports, addr)
			if err != nil {
				return sockets, cannotListen(cfg, key, network, addr, err)
			}
			sockets = append(sockets, opened...)
		}
	}
	return sockets, nil
}

// portGroup is the transports of a listener that share a port.
type portGroup struct {
	transports []string
	ownPort    bool // a port that does not stand in the listener's address
}

// portGroups are the transports of a listener, those of its address first.
func portGroups(l configs.Listener) []portGroup {
	var address portGroup
	var groups []portGroup
	for _, t := range l.Transports {
		if t == "tls" && len(l.Transports) > 1 {
			groups = append(groups, portGroup{[]string{t}, true})
		} else {
			address.transports = append(address.transports, t)
		}
	}
	if len(address.transports) > 0 {
		groups = append([]portGroup{address}, groups...)
	}
	return groups
}

// key is what has to be changed for another port.
func (g portGroup) key(listener int) string {
	if g.ownPort {
		return fmt.Sprintf("listeners[%d].tls.port", listener)
	}
	return fmt.Sprintf("listeners[%d].address", listener)
}

// carrier is the transport below a transport of SIP.
func carrier(network string) string {
	if network == "tls" {
		return "tcp"
	}
	return network
}

// openTransports opens the transports of one listener at one port; port 0 takes
// one that is free for all of them. After an error network is the transport
// that could not be opened.
func openTransports(listener int, transports []string, addr netip.AddrPort) (sockets []socket, network string, err error) {
	for try := 0; ; try++ {
		at := addr
		for _, network = range transports {
			var s socket
			if s, err = open(network, at); err != nil {
				break
			}
			s.listener = listener
			sockets = append(sockets, s)
			at = s.addr
		}
		if err == nil {
			return sockets, "", nil
		}
		for _, s := range sockets {
			s.close()
		}
		sockets = nil
		if addr.Port() != 0 || !inUse(err) || try == freePortTries {
			return nil, network, err
		}
	}
}

// open opens a socket of exactly this address: never of both address families.
// TLS is spoken above the one of its own.
func open(network string, addr netip.AddrPort) (socket, error) {
	family := "4"
	if addr.Addr().Is6() {
		family = "6"
	}
	s := socket{network: network}
	var local net.Addr
	if network == "udp" {
		c, err := net.ListenUDP("udp"+family, net.UDPAddrFromAddrPort(addr))
		if err != nil {
			return s, err
		}
		s.packet, local = c, c.LocalAddr()
	} else {
		l, err := net.ListenTCP("tcp"+family, net.TCPAddrFromAddrPort(addr))
		if err != nil {
			return s, err
		}
		s.stream, local = l, l.Addr()
	}
	ap, err := netip.ParseAddrPort(local.String())
	if err != nil {
		s.close()
		return s, err
	}
	s.addr = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	return s, nil
}

// toChange names a key of the configuration as what has to be changed.
func toChange(cfg *configs.Config, key string) string {
	if isBuiltIn(cfg) {
		return fmt.Sprintf("write a configuration with another %s and name it: sipward run --config FILE", key)
	}
	return fmt.Sprintf("change %s in %s", key, cfg.File)
}

// cannotListen explains why a socket could not be opened and what to do.
func cannotListen(cfg *configs.Config, key, network string, addr netip.AddrPort, err error) error {
	f := listenFault(network, addr, err)
	if isBuiltIn(cfg) && inUse(err) {
		return fmt.Errorf("cannot listen on %v (%s): %s; stop that program, or take other ports: sipward run --free-ports; or choose them: %s", addr, network, f.what, toChange(cfg, key))
	}
	return fmt.Errorf("cannot listen on %v (%s): %s%s%s%s", addr, network, f.what, f.then, toChange(cfg, key), f.or)
}

// fault is why a socket could not be opened: what is the matter, how the sentence
// goes on with what to change, and what else would help.
type fault struct {
	what, then, or string
	holder         string // of a port in use
}

func listenFault(network string, addr netip.AddrPort, err error) fault {
	switch {
	case inUse(err):
		holder := holderOf(carrier(network), addr)
		return fault{"in use by " + holder, "; ", ", or stop that program", holder}
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fault{what: fmt.Sprintf("%v is no address of this machine", addr.Addr()), then: "; "}
	case errors.Is(err, syscall.EACCES) && addr.Port() != 0:
		return fault{what: fmt.Sprintf("the system keeps port %d for itself; take one above 1023", addr.Port()), then: ": "}
	}
	return fault{what: err.Error(), then: "; "}
}
