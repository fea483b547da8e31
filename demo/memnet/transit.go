package memnet

import (
	"bytes"
	"container/heap"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// parcel is one copy of a datagram on its way.
type parcel struct {
	due      time.Time
	order    uint64 // of writing, which decides between equal times
	from, to netip.AddrPort
	payload  []byte
}

// transit is a heap of what is on its way, first due first.
type transit []parcel

func (t transit) Len() int { return len(t) }
func (t transit) Less(i, j int) bool {
	if t[i].due.Equal(t[j].due) {
		return t[i].order < t[j].order
	}
	return t[i].due.Before(t[j].due)
}
func (t transit) Swap(i, j int) { t[i], t[j] = t[j], t[i] }
func (t *transit) Push(x any)   { *t = append(*t, x.(parcel)) }
func (t *transit) Pop() any {
	last := len(*t) - 1
	p := (*t)[last]
	(*t)[last] = parcel{}
	*t = (*t)[:last]
	return p
}

// fate is what happens to one datagram in the end.
type fate struct {
	payload []byte
	dues    []time.Time // one per copy; none: lost
}

// write carries b from one address to another. It does not block on readers.
func (n *Network) write(from, to netip.AddrPort, b []byte, injected bool) error {
	if len(b) > maxPayload {
		return os.NewSyscallError("sendto", syscall.EMSGSIZE)
	}
	if !from.IsValid() || !to.IsValid() || to.Port() == 0 {
		return os.NewSyscallError("sendto", syscall.EINVAL)
	}
	if from.Addr().Is4() != to.Addr().Is4() {
		return os.NewSyscallError("sendto", syscall.EAFNOSUPPORT)
	}

	n.wire.Lock()
	defer n.wire.Unlock()
	now := time.Now()
	written := bytes.Clone(b)
	if written == nil {
		written = []byte{} // an empty datagram is a datagram
	}
	var v Verdict
	if n.rule != nil && !injected {
		v = n.rule(from, to, written)
	}
	f, err := n.decide(now, from, to, written, v, injected)
	if err != nil {
		return err
	}
	for _, tap := range n.taps {
		(*tap)(Datagram{Time: now, From: from, To: to, Payload: bytes.Clone(written), Copies: len(f.dues)})
	}
	if v.From.IsValid() {
		from = plainAddr(v.From)
	}
	if v.To.IsValid() {
		to = plainAddr(v.To)
	}
	n.send(from, to, f)
	return nil
}

// decide settles when the copies of a datagram arrive.
func (n *Network) decide(now time.Time, from, to netip.AddrPort, payload []byte, v Verdict, injected bool) (fate, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return fate{}, net.ErrClosed
	}
	if n.gone[from.Addr()] && !injected {
		return fate{}, os.NewSyscallError("sendto", syscall.ENETUNREACH)
	}
	n.stats.Written++
	f := fate{payload: payload}
	if injected {
		f.dues = []time.Time{now.Add(n.opts.Delay)}
		return f, nil
	}
	if v.Payload != nil {
		f.payload = bytes.Clone(v.Payload)
	}
	// Every datagram takes the same draws, whatever the options and verdicts, so
	// that changing one of them leaves the rest of a run as it was.
	l := n.link(from, to)
	lost := l.random.Float64() < n.opts.Loss
	twice := l.random.Float64() < n.opts.Duplicate
	late := l.random.Float64() < n.opts.Reorder
	jitter := time.Duration(l.random.Float64() * float64(n.opts.Jitter))
	if lost || v.Drop {
		n.stats.Lost++
		return f, nil
	}

	due := now.Add(n.opts.Delay + jitter)
	if due.Before(l.lastDue) {
		due = l.lastDue // jitter alone does not reorder
	}
	switch {
	case late:
		n.stats.Reordered++
		due = due.Add(n.opts.ReorderBy + v.Delay)
	case v.Delay > 0:
		due = due.Add(v.Delay)
	default:
		l.lastDue = due
	}
	copies := 1 + max(v.Copies, 0)
	if twice {
		copies++
	}
	n.stats.Duplicated += uint64(copies - 1)
	for range copies {
		f.dues = append(f.dues, due)
	}
	return f, nil
}

// send puts the copies on their way and delivers what is due.
func (n *Network) send(from, to netip.AddrPort, f fate) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	for i, due := range f.dues {
		payload := f.payload
		if i > 0 {
			payload = bytes.Clone(payload)
		}
		n.order++
		heap.Push(&n.transit, parcel{due: due, order: n.order, from: from, to: to, payload: payload})
	}
	n.deliver()
}

// arrive is the timer's function.
func (n *Network) arrive() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.deliver()
}

// deliver moves everything that is due into the sockets' queues and sets the
// timer for the rest. One timer and one heap, not a timer per datagram: two
// timers of the same moment run in any order. The caller holds mu.
func (n *Network) deliver() {
	now := time.Now()
	for len(n.transit) > 0 && !n.transit[0].due.After(now) {
		p := heap.Pop(&n.transit).(parcel)
		c := n.sockets[p.to]
		if c == nil || n.gone[p.to.Addr()] {
			n.stats.NoSocket++
			continue
		}
		select {
		case c.queue <- p:
			n.stats.Delivered++
		default:
			n.stats.QueueFull++
		}
	}
	if len(n.transit) == 0 {
		return
	}
	wait := n.transit[0].due.Sub(now)
	if n.timer == nil {
		n.timer = time.AfterFunc(wait, n.arrive)
	} else {
		n.timer.Reset(wait)
	}
}

// forget takes a closed socket off the network.
func (n *Network) forget(c *Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.sockets[c.local] == c {
		delete(n.sockets, c.local)
	}
}
