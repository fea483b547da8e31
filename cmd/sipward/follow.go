package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/configs"
	"github.com/sipward/sipward/sip"
)

const (
	// addressSettle is how long addresses have to be left alone before they are
	// believed: they come and go in bursts.
	addressSettle = 300 * time.Millisecond
	// addressRetry is the wait after an attempt that failed: an IPv6 address cannot
	// be used while it is checked for duplicates (RFC 4862 section 5.4).
	addressRetry = 2 * time.Second
	// nameRefresh is how often the name in advertise is looked up again.
	nameRefresh = 5 * time.Minute
	// nameAgain is how long after a look-up that failed.
	nameAgain = time.Minute
	// nameSpare is how long a name is good for in any case: routes may change often.
	nameSpare = 10 * time.Second
)

// follower keeps the listeners where this machine is: those with the address auto
// at the address of the default route, and what the others are told equal to the
// name in advertise.
type follower struct {
	d       *daemon
	where   func(configs.Address, netip.Addr) (netip.AddrPort, error) // an address as it is now, of the other's family
	names   configs.AddressLookup
	present func(netip.Addr) bool // the machine still has the address
	changed <-chan struct{}       // addresses may have changed; nil: nobody says
	moved   func(from, to socket) // is told of each
	said    map[string]bool       // failures that stand in the log already
	quiet   bool                  // nothing has failed in this look
	named   map[string]time.Time  // when a name was looked up last
}

// follow keeps a daemon's listeners where this machine is until ctx is done.
func (d *daemon) follow(ctx context.Context, moved func(from, to socket)) {
	if !d.follows() {
		return
	}
	changed, err := watchAddresses(ctx)
	if err != nil {
		d.log.Warn("looking for changes of the address once in a while only", "every", addressPoll, "error", err)
	}
	f := &follower{d: d, where: configs.CurrentAddress, names: net.DefaultResolver, present: hasAddress, changed: changed, moved: moved}
	f.run(ctx)
}

// follows says whether any listener may have to move.
func (d *daemon) follows() bool {
	for _, l := range d.cfg.Listeners {
		if mayMove(l) {
			return true
		}
	}
	return false
}

// mayMove says whether a listener's address depends on where this machine is.
func mayMove(l configs.Listener) bool { return l.Address.Auto || l.Advertise.Name != "" }

// hasAddress says whether an address is this machine's.
func hasAddress(addr netip.Addr) bool {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok {
			if own, ok := netip.AddrFromSlice(n.IP); ok && own.Unmap() == addr {
				return true
			}
		}
	}
	return false
}

func (f *follower) run(ctx context.Context) {
	wait := time.NewTimer(addressPoll)
	defer wait.Stop()
	for {
		fresh := false // names are looked up whether it is time or not
		select {
		case <-ctx.Done():
			return
		case <-f.changed:
			fresh = true
			select {
			case <-ctx.Done():
				return
			case <-time.After(addressSettle):
			}
			select {
			case <-f.changed:
			default:
			}
		case <-wait.C:
		}
		if f.look(ctx, fresh) {
			wait.Reset(addressPoll)
		} else {
			wait.Reset(addressRetry)
		}
	}
}

// look moves what is not where this machine is; false where something could not be
// moved and has to be tried again soon.
func (f *follower) look(ctx context.Context, fresh bool) bool {
	fine := true
	f.quiet = true
	for i, l := range f.d.cfg.Listeners {
		if !mayMove(l) {
			continue
		}
		for _, g := range portGroups(l) {
			if err := f.place(ctx, i, l, g, fresh); err != nil {
				f.say(fmt.Sprintf("listener %s stays where it was: %v", l.Name, err))
				fine = false
			}
		}
	}
	if f.quiet {
		f.said = nil
	}
	return fine
}

// say logs a failure once, until all is well again.
func (f *follower) say(text string) {
	f.quiet = false
	if f.said[text] {
		return
	}
	if f.said == nil || len(f.said) > 100 {
		f.said = map[string]bool{}
	}
	f.said[text] = true
	f.d.log.Warn(text)
}

// place moves the sockets of one port of a listener.
func (f *follower) place(ctx context.Context, listener int, l configs.Listener, g portGroup, fresh bool) error {
	old := f.d.socketsOf(listener, g.transports)
	if len(old) == 0 {
		return nil
	}
	at := old[0].addr
	if l.Address.Auto {
		now, err := f.where(l.AddressOf(g.transports[0]), at.Addr())
		if err != nil {
			return err
		}
		at = netip.AddrPortFrom(now.Addr(), old[0].addr.Port()) // the port stays, also one that was free at the start
	}
	shown, err := f.shown(ctx, l, old, at, fresh)
	if err != nil {
		return err
	}
	if at == old[0].addr && shown == old[0].advertise {
		return nil
	}
	next := make([]socket, len(old))
	for i, s := range old {
		s.advertise = shown
		next[i] = s
	}
	if at != old[0].addr {
		for _, t := range g.transports { // it may be back where it was a moment ago
			f.d.proxy.Vacate(l.Name, t, at)
		}
		opened, network, err := openTransports(listener, g.transports, at)
		if err != nil {
			return cannotListen(f.d.cfg, g.key(listener), network, at, err)
		}
		for i, s := range opened {
			s.advertise = shown
			next[i] = s
		}
	}
	return f.move(l, old, next)
}

// move hands the next sockets to the proxy.
func (f *follower) move(l configs.Listener, old, next []socket) error {
	var failed error
	for i, s := range next {
		place := b2bua.Place{Advertise: s.advertise}
		if s.addr != old[i].addr {
			place.Packet, place.Stream = s.packet, s.stream
			if f.present(old[i].addr.Addr()) {
				place.Linger = 64 * sip.T1 // what was sent before its sender knew
			}
		}
		if err := f.d.proxy.Move(l.Name, s.network, place); err != nil {
			if s.addr != old[i].addr {
				s.close()
			}
			failed = err
			continue
		}
		now := time.Now()
		s.moved = &now
		f.d.replace(old[i], s)
		f.moved(old[i], s)
	}
	return failed
}

// shown is what the messages of a listener's sockets name, were they at an
// address. A name that cannot be looked up leaves what was.
func (f *follower) shown(ctx context.Context, l configs.Listener, old []socket, at netip.AddrPort, fresh bool) (netip.AddrPort, error) {
	a := l.Advertise
	if a.Auto() {
		return netip.AddrPort{}, nil
	}
	if old[0].network == "tls" && len(l.Transports) > 1 {
		a.Port = 0 // the one that is given is of the other transports
	}
	good := nameRefresh
	if fresh {
		good = nameSpare
	}
	key := l.Name + " " + old[0].network
	if last, ok := f.named[key]; a.Name != "" && ok && at == old[0].addr && time.Since(last) < good {
		return old[0].advertise, nil
	}
	within, cancel := context.WithTimeout(ctx, advertiseWithin)
	defer cancel()
	shown, err := configs.ResolveAdvertise(within, f.names, a, at)
	if f.named == nil {
		f.named = map[string]time.Time{}
	}
	if f.named[key] = time.Now(); err != nil {
		f.named[key] = time.Now().Add(nameAgain - nameRefresh)
		if at == old[0].addr {
			f.say(fmt.Sprintf("the address that listener %s tells others stays %v: %v", l.Name, old[0].advertise, err))
			return old[0].advertise, nil
		}
		return netip.AddrPort{}, err
	}
	return shown, nil
}
