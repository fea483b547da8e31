package media

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// ErrNoPorts says that every pair of ports of the range is taken at an
// address.
var ErrNoPorts = errors.New("media: no free ports")

// ports gives out pairs of an even port and the next, of one range at each
// local address.
type ports struct {
	first int // lowest even port
	pairs int

	mu      sync.Mutex
	used    map[netip.AddrPort]struct{}  // by the even port
	resting map[netip.AddrPort]time.Time // until when; not used
	rests   []netip.AddrPort             // in the order in which they came to rest
}

// restTime is how long a port is not given out again: whose BYE was lost goes on
// sending to it for as long as the BYE is repeated (RFC 3261 section 17.1.2.2).
const restTime = 32 * time.Second

// newPorts takes the pairs that lie within min and max, both included.
func newPorts(min, max int) (*ports, error) {
	first := min + min%2
	pairs := (max - first + 1) / 2
	if min < 1 || max > 65535 || pairs < 1 {
		return nil, fmt.Errorf("media: ports %d to %d hold no even port with the next", min, max)
	}
	return &ports{first: first, pairs: pairs, used: map[netip.AddrPort]struct{}{}, resting: map[netip.AddrPort]time.Time{}}, nil
}

// take finds a pair that is free here and that bind can open, starting at a
// random one so that ports are hard to guess; one that rests is taken where there
// is no other. bind is called with the even port; where it says that the port is
// in use by another program, the next pair is tried.
func (p *ports) take(addr netip.Addr, bind func(netip.AddrPort) error) (netip.AddrPort, error) {
	start := rand.IntN(p.pairs)
	var last error
	for i := range 2 * p.pairs {
		pair := netip.AddrPortFrom(addr, uint16(p.first+2*((start+i)%p.pairs)))
		if p.rested(pair) != (i < p.pairs) || !p.reserve(pair) {
			continue
		}
		err := bind(pair)
		if err == nil {
			return pair, nil
		}
		p.free(pair)
		if final(err) {
			return netip.AddrPort{}, err
		}
		last = err
	}
	err := fmt.Errorf("%w at %s: all of %d to %d are taken", ErrNoPorts, addr, p.first, p.first+2*p.pairs-1)
	if last != nil {
		err = fmt.Errorf("%w (%w)", err, last)
	}
	return netip.AddrPort{}, err
}

func (p *ports) reserve(pair netip.AddrPort) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, taken := p.used[pair]; taken {
		return false
	}
	p.used[pair] = struct{}{}
	return true
}

// release gives a pair back that was in use.
func (p *ports) release(pair netip.AddrPort) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.used, pair)
	now := time.Now()
	for len(p.rests) > 0 && !now.Before(p.resting[p.rests[0]]) {
		delete(p.resting, p.rests[0])
		p.rests = p.rests[1:]
	}
	p.rests = append(p.rests, pair)
	p.resting[pair] = now.Add(restTime)
}

// free gives a pair back that could not be used.
func (p *ports) free(pair netip.AddrPort) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.used, pair)
}

// rested says whether nobody has used a pair of late.
func (p *ports) rested(pair netip.AddrPort) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	until, rests := p.resting[pair]
	return !rests || !time.Now().Before(until)
}

// final errors are those that another port would give too.
func final(err error) bool {
	for _, e := range []error{syscall.EADDRNOTAVAIL, syscall.EACCES, syscall.EMFILE, syscall.ENFILE, syscall.EAFNOSUPPORT, syscall.ENOBUFS, syscall.ENOMEM, ErrClosed} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
