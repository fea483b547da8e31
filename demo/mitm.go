package demo

import (
	"slices"
	"strings"
	"sync"

	"github.com/sipward/sipward/keyexchange"
	"github.com/sipward/sipward/media/srtp"
	"github.com/sipward/sipward/sip"
)

// Mitm is a wire with a man in the middle on it. He answers the caller's
// exchange with a share of his own, begins another one with the callee, and
// passes the speech on from the one to the other: both people hear each other,
// and he hears both. What he cannot do is make their short authentication
// strings equal.
type Mitm struct{ *Wire }

// NewMitm opens the wire's SIP sockets; Close must follow.
func NewMitm(o WireOptions) (*Mitm, error) {
	w, err := NewWire(o)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.man = &man{overheard: [2]*recording{newRecording(), newRecording()}}
	return &Mitm{w}, nil
}

// Overheard is the speech that came in on a link, as he could play it.
func (m *Mitm) Overheard(l Link) []int16 { return m.man.overheard[l].samples() }

// SAS gives the octets that the sipward on a link shows, which he knows as well
// as it does; ok is false before there are any.
func (m *Mitm) SAS(l Link) (octets [4]byte, ok bool) {
	m.man.mu.Lock()
	defer m.man.mu.Unlock()
	octets = m.man.sas[l]
	return octets, octets != [4]byte{}
}

// Failures counts the packets that he could not read or pass on.
func (m *Mitm) Failures() int {
	m.man.mu.Lock()
	defer m.man.mu.Unlock()
	return m.man.failures
}

// man is what the man in the middle remembers of all calls.
type man struct {
	overheard [2]*recording // by the link it came in on

	mu       sync.Mutex
	sas      [2][4]byte // by link
	failures int
}

// deceit is one call with a man in the middle: the caller takes him for the
// callee, the callee for the caller. A nil one is a call that he leaves alone.
type deceit struct {
	man     *man
	caller  Link
	answers *keyexchange.Exchange // with the caller; he is the responder
	asks    *keyexchange.Exchange // with the callee; he is the initiator
	resp    string                // what he answers
	fin     string                // what he opens his commitment with
	keyed   bool                  // both exchanges are done
	off     bool                  // the callee has none
}

// turn is his chance at a message that came in on a link. A message without an
// attribute passes as it is.
func (x *man) turn(p *passing, in Link, m *sip.Message) {
	own, kind := attribute(m)
	d := p.deceit
	switch kind {
	case keyexchange.KindInvite, keyexchange.KindInviteNoSDP:
		if d == nil && own.Present && len(p.relays) == 0 {
			d = x.begin(in, own)
			p.deceit = d
		}
		if d != nil && in == d.caller && own.Present && own.Value == d.answers.Init() {
			set(m, kind, "dh-init", d.asks.Init())
		}
	case keyexchange.KindAnswer:
		if d == nil || in == d.caller || d.off {
			return
		}
		if !own.Present {
			if d.fin == "" {
				d.off = true
				for _, r := range p.relays {
					r.leaveAlone()
				}
			}
			return
		}
		fin, err := d.asks.TakeResp(own) // the same again for a repetition
		if err != nil {
			return
		}
		d.fin = fin
		set(m, kind, "dh-resp", d.resp)
	case keyexchange.KindAck, keyexchange.KindAckSDP:
		if d == nil || in != d.caller || !own.Present || d.fin == "" || d.answers.TakeFin(own) != nil {
			return
		}
		set(m, kind, "dh-fin", d.fin)
		if d.keyed {
			return
		}
		d.keyed = true
		x.mu.Lock()
		x.sas[d.caller], _ = d.answers.SAS()
		x.sas[d.caller.other()], _ = d.asks.SAS()
		x.mu.Unlock()
		for i, r := range p.relays {
			r.unlock(d, i)
		}
	}
}

// begin answers the caller's dh-init and makes one for the callee, with the
// groups that the caller offers.
func (x *man) begin(caller Link, init keyexchange.Attrs) *deceit {
	cfg := keyexchange.Config{Groups: offered(init.Value)}
	for _, s := range srtp.Suites() {
		cfg.Suites = append(cfg.Suites, keyexchange.Suite{Name: s.Name, KeyLen: s.KeyLen, SaltLen: s.SaltLen})
	}
	answers, resp, err := keyexchange.NewResponder(cfg, init, nil)
	if err != nil {
		return nil
	}
	asks, err := keyexchange.NewInitiator(cfg, nil)
	if err != nil {
		answers.Erase()
		return nil
	}
	return &deceit{man: x, caller: caller, answers: answers, asks: asks, resp: resp}
}

// offered names the groups of a dh-init that are built, in its order.
func offered(init string) []string {
	fields := strings.Split(init, " ")
	if len(fields) < 2 {
		return nil
	}
	var out []string
	for offer := range strings.SplitSeq(fields[1], ",") {
		name, _, _ := strings.Cut(offer, "=")
		if slices.Contains([]string{keyexchange.GroupX25519, keyexchange.GroupX25519MLKEM768}, name) {
			out = append(out, name)
		}
	}
	return out
}

func (d *deceit) erase() {
	if d != nil {
		d.answers.Erase()
		d.asks.Erase()
	}
}

// recoding is what he does to the packets of an m-line: out of the keys of one
// link, into those of the other. Under the relay's lock.
type recoding struct {
	man  *man
	from [2]*srtp.Context // of what comes in on a link; nil until there are keys
	to   [2]*srtp.Context // of what goes out on a link
	kept []kept
}

// kept is a packet that was faster than the ACK whose keys it needs.
type kept struct {
	in   Link
	rtcp bool
	b    []byte
}

const maxKept = 64

// recoding makes one for the m-line with that index, or none.
func (d *deceit) recoding(index int) *recoding {
	if d == nil || d.off {
		return nil
	}
	c := &recoding{man: d.man}
	if d.keyed {
		c.install(d, index)
	}
	return c
}

// install takes the keys of both exchanges.
func (c *recoding) install(d *deceit, index int) {
	for link, x := range map[Link]*keyexchange.Exchange{d.caller: d.answers, d.caller.other(): d.asks} {
		k, err := x.Keys(index)
		if err != nil {
			return
		}
		suite := x.Suite().Name
		if c.from[link], err = srtp.NewContext(suite, k.Recv.Key, k.Recv.Salt); err != nil {
			return
		}
		if c.to[link], err = srtp.NewContext(suite, k.Send.Key, k.Send.Salt); err != nil {
			return
		}
		for _, secret := range [][]byte{k.Recv.Key, k.Recv.Salt, k.Send.Key, k.Send.Salt} {
			clear(secret)
		}
	}
}

func (c *recoding) ready() bool {
	return c.from[LinkA] != nil && c.from[LinkB] != nil && c.to[LinkA] != nil && c.to[LinkB] != nil
}

// unlock gives a relay the keys and sends on what waited for them.
func (r *relay) unlock(d *deceit, index int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keys == nil || r.closed {
		return
	}
	r.keys.install(d, index)
	r.release()
}

// leaveAlone makes a relay pass everything as it is.
func (r *relay) leaveAlone() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keys == nil {
		return
	}
	waiting := r.keys.kept
	r.keys = nil
	for _, k := range waiting {
		r.emit(k.in.other(), k.rtcp, k.b)
	}
}

func (r *relay) release() {
	waiting := r.keys.kept
	r.keys.kept = nil
	for _, k := range waiting {
		r.keys.recode(r, k.in, k.rtcp, k.b)
	}
}

// recode passes one datagram on. The caller holds the relay's lock.
func (c *recoding) recode(r *relay, in Link, rtcp bool, b []byte) {
	kind := kindOfDatagram(b)
	if kind == Other {
		r.emit(in.other(), rtcp, b) // it opens a NAT
		return
	}
	if !c.ready() {
		if len(c.kept) < maxKept {
			c.kept = append(c.kept, kept{in, rtcp, slices.Clone(b)})
		} else {
			c.failed()
		}
		return
	}
	from, to := c.from[in], c.to[in.other()]
	unprotect, protect := from.Unprotect, to.Protect
	if kind == RTCP {
		unprotect, protect = from.UnprotectRTCP, to.ProtectRTCP
	}
	plain, err := unprotect(make([]byte, 0, len(b)), b)
	if err != nil {
		c.failed()
		return
	}
	if p, ok := parsePacket(plain); ok && kind == RTP {
		c.man.overheard[in].add(p.ssrc, p.seq, p.payload)
	}
	out, err := protect(make([]byte, 0, len(plain)+srtp.MaxOverhead), plain)
	if err != nil {
		c.failed()
		return
	}
	r.emit(in.other(), rtcp, out)
}

func (c *recoding) failed() {
	c.man.mu.Lock()
	defer c.man.mu.Unlock()
	c.man.failures++
}

func (c *recoding) erase() {
	for _, x := range [...]*srtp.Context{c.from[LinkA], c.from[LinkB], c.to[LinkA], c.to[LinkB]} {
		if x != nil {
			x.Erase()
		}
	}
	c.kept = nil
}
