package calls

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"github.com/sipward/sipward/sip"
)

// desk is all phones of one side: one signalling address, a place for each call.
type desk struct {
	s      *soak
	domain string
	at     netip.Addr
	proxy  netip.AddrPort
	stack  *sip.Stack
	lis    *sip.Listener

	colleague *desk // to whom its phones transfer

	mu    sync.Mutex
	seats map[int]*seat // of the calls under way, by number
}

func newDesk(s *soak, domain string, at, proxy netip.AddrPort) *desk {
	d := &desk{s: s, domain: domain, at: at.Addr(), proxy: proxy, seats: map[int]*seat{}}
	d.stack = sip.NewStack(sip.Options{Handler: d.incoming, UserAgent: "plain phone", Log: testLog(s.t).With("phone", domain)})
	lis, err := d.stack.Listen(sip.ListenerOptions{Name: domain, Packet: s.w.listen(at)})
	if err != nil {
		s.t.Fatal(err)
	}
	d.lis = lis
	return d
}

// What a phone thinks of its call.
const (
	idle     = "idle"
	calling  = "calling"
	alerting = "ringing"
	talking  = "talking"
	over     = "ended"
)

// seat is one phone's place in one call, and what it thinks of it. Its fields
// belong to its queue, but for what note copies.
type seat struct {
	d     *desk
	n     int
	story *story
	queue sip.Queue
	rtp   net.PacketConn
	done  chan struct{} // its reader has ended
	led   bool          // it is whom a call is transferred to

	dialog  *sip.Dialog
	state   string
	holds   stance // its own wish
	wish    stance // that its offer under way asks for
	held    bool   // the other side wants nothing
	offers  bool   // an offer of its own is under way
	answer  bool   // an answer of its own is: the ACK with the other's has not come
	ver     int    // of its descriptions
	said    []byte // in its provisional response
	pracked bool   // that one was acknowledged
	seq     uint16 // of its next packet
	to      *net.UDPAddr

	mu    sync.Mutex
	now   thought
	heard int    // packets
	told  string // of its transfer, by NOTIFY
	wake  chan struct{}
}

// thought is what a phone thinks.
type thought struct {
	state       string
	holds, held bool
	blind       bool // it wants nothing itself: whether the other side does, it cannot tell
	busy        bool // something is under way
	why         string
}

// sit takes the place that a call is put through to.
func (d *desk) sit(n int, st *story, wake chan struct{}) *seat {
	p := d.line(n, st, wake)
	d.mu.Lock()
	d.seats[n] = p
	d.mu.Unlock()
	return p
}

// line is a place for a call of the phone's own.
func (d *desk) line(n int, st *story, wake chan struct{}) *seat {
	p := &seat{d: d, n: n, story: st, state: idle, holds: both, wake: wake, done: make(chan struct{})}
	p.now.state = idle
	p.queue.Log = testLog(d.s.t)
	p.rtp = d.s.w.listen(netip.AddrPortFrom(d.at, 0))
	go p.listen()
	return p
}

// leave gives the place back.
func (p *seat) leave() {
	p.d.mu.Lock()
	if p.d.seats[p.n] == p {
		delete(p.d.seats, p.n)
	}
	p.d.mu.Unlock()
	p.rtp.Close()
	<-p.done
}

// note tells the story what the phone thinks now.
func (p *seat) note(why string) {
	p.mu.Lock()
	p.now = thought{p.state, p.holds != both, p.held, p.holds == inactive, p.offers || p.answer, p.now.why}
	if why != "" {
		p.now.why = why
	}
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *seat) thinks() thought {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

// call dials the other side.
func (p *seat) call(to string) {
	p.queue.Post(func() {
		self := sip.URI{Scheme: "sip", User: userOfCall(p.n), Host: p.d.domain}
		uri := sip.URI{Scheme: "sip", User: userOfCall(p.n), Host: to}
		body := p.offer(p.holds)
		if p.story.delayed {
			body = nil
		}
		var fields []sip.Field
		if p.story.reliable {
			fields = takes
		}
		d, err := p.d.stack.Dial(sip.Dial{Flow: p.d.lis.Flow(p.d.proxy), URI: uri, From: sip.Address{URI: self}, To: sip.Address{URI: uri}, ContactUser: userOfCall(p.n), Fields: fields,
			ContentType: "application/sdp", Body: body, Queue: &p.queue, User: p})
		if err != nil {
			p.d.s.fail(p.n, "the caller cannot dial: %v", err)
			return
		}
		p.dialog, p.state = d, calling
		p.note("")
	})
}

// giveUp cancels the call, where it is not too late.
func (p *seat) giveUp() {
	p.queue.Post(func() { p.dialog.Cancel() })
}

// hangUp ends the call, where there is one.
func (p *seat) hangUp() {
	p.queue.Post(func() {
		if p.state == talking {
			p.dialog.Bye(nil)
			p.end("hung up")
		}
	})
}

func (p *seat) end(why string) {
	if p.state != over {
		p.state, p.offers, p.answer = over, false, false
		p.note(why)
	}
}

// change asks for another way by re-INVITE or UPDATE; then is told the final
// status.
func (p *seat) change(method string, wish stance, then func(status int)) {
	p.queue.Post(func() {
		if p.state != talking || p.offers || p.answer {
			then(0)
			return
		}
		p.offers, p.wish = true, wish
		p.note("")
		p.dialog.Do(method, "application/sdp", p.offer(wish), func(res *sip.Message, err error) {
			switch {
			case err == nil && res.Status < 200, p.state == over:
				return
			case errors.Is(err, sip.ErrPending):
				p.offers = false
				then(491)
			case err != nil:
				p.offers = false
				then(408)
			default:
				p.offers = false
				if res.Status < 300 {
					p.holds = wish
					p.answered(p.learn(res), wish)
					if method == "INVITE" {
						p.dialog.Ack(res, "", nil)
					}
				}
				then(res.Status)
			}
			if p.dialog.Ended() { // it has released itself (RFC 3261 section 12.2.1.2)
				p.end("the call was lost")
			}
			p.note("")
		})
	})
}

func (d *desk) incoming(in *sip.Incoming) {
	n, err := strconv.Atoi(strings.TrimPrefix(in.URI.User, "n"))
	d.mu.Lock()
	p := d.seats[n]
	d.mu.Unlock()
	if in.Method != "INVITE" || err != nil || p == nil {
		in.Reply(481, "")
		return
	}
	dialog := in.Accept(&p.queue, p, userOfCall(n))
	if dialog == nil {
		return
	}
	p.queue.Post(func() {
		if p.state != idle {
			d.s.fail(n, "a second INVITE at a phone that is %s", p.state)
			dialog.Refuse(486, "")
			return
		}
		p.dialog, p.state = dialog, alerting
		offered := p.learn(in.Message)
		p.offered(offered)
		p.note("")
		p.story.callee(p, offered)
	})
}

// pickUp answers the call.
func (p *seat) pickUp(offered string) {
	p.queue.Post(func() {
		if p.state != alerting {
			return
		}
		p.answer = true
		p.note("")
		switch {
		case p.pracked: // which has settled offer and answer
			p.dialog.Answer("", nil)
		case p.said != nil:
			p.dialog.Answer("application/sdp", p.said)
		case offered == "":
			p.dialog.Answer("application/sdp", p.offer(p.holds))
		default:
			p.dialog.Answer("application/sdp", p.reply(offered))
		}
	})
}

// ring rings with media before the answer, reliably where the caller can.
func (p *seat) ring(offered string) {
	p.said = p.reply(offered)
	if !p.story.reliable || !p.dialog.Takes100rel() {
		p.dialog.Provision(183, "", "application/sdp", p.said)
		return
	}
	p.dialog.ProvisionReliably(183, "", "application/sdp", p.said, func(prack *sip.ServerTx) {
		if prack == nil {
			p.dialog.Refuse(504, "")
			p.end("no PRACK came")
			return
		}
		prack.Reply(200, "")
		p.pracked = true
		p.d.s.happened("PRACK")
	})
}
