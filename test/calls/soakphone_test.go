package calls

import (
	"errors"
	"fmt"
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

// stance is how a phone takes part in the media: what it wishes in its descriptions.
type stance string

const (
	both     stance = "sendrecv"
	sendonly stance = "sendonly"
	inactive stance = "inactive"
	nowhere  stance = "0.0.0.0" // hold as before RFC 3264: sendrecv at no address
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

// listen counts what the other phone says; whatever else comes is a fault.
func (p *seat) listen() {
	defer close(p.done)
	buf := make([]byte, 2000)
	for {
		size, _, err := p.rtp.ReadFrom(buf)
		if err != nil {
			return
		}
		if buf[1]&0x7f != 0 {
			continue // RTCP, or noise that opens a NAT
		}
		if want := userOfCall(p.n); size != 172 || string(buf[12:12+len(want)]) != want {
			p.d.s.fail(p.n, "a phone hears %d octets of another call: %q", size, buf[12:min(size, 24)])
		}
		p.mu.Lock()
		p.heard++
		p.mu.Unlock()
	}
}

// say sends one packet of speech, each with a number of its own.
func (p *seat) say() {
	p.queue.Post(func() {
		if p.to == nil {
			return
		}
		packet := make([]byte, 172)
		packet[0], packet[2], packet[3], packet[11] = 0x80, byte(p.seq>>8), byte(p.seq), p.d.at.As4()[1]<<4|p.d.at.As4()[3]
		p.seq++
		copy(packet[12:], userOfCall(p.n))
		p.rtp.WriteTo(packet, p.to)
	})
}

func (p *seat) hears() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.heard
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

func (p *seat) describe(w stance, direction string) []byte {
	p.ver++
	at := p.d.at.String()
	if w == nowhere {
		at = "0.0.0.0"
	}
	port := p.rtp.LocalAddr().(*net.UDPAddr).Port
	return fmt.Appendf(nil, "v=0\r\no=- 1 %d IN IP4 %v\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\nm=audio %d RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=%s\r\n", p.ver, p.d.at, at, port, direction)
}

// offer describes what the phone wishes.
func (p *seat) offer(w stance) []byte {
	if w == nowhere {
		return p.describe(w, "sendrecv")
	}
	return p.describe(w, string(w))
}

// reply answers an offer that was learnt just before: what the phone wishes, as
// far as the other side lets it (RFC 3264 section 6.1).
func (p *seat) reply(offered string) []byte {
	switch {
	case offered == "inactive", offered == "sendonly" && p.holds != both && p.holds != nowhere:
		return p.describe(p.holds, "inactive")
	case offered == "sendonly":
		return p.describe(p.holds, "recvonly")
	case offered == "recvonly" || p.holds == sendonly:
		return p.describe(p.holds, "sendonly")
	case p.holds == inactive:
		return p.describe(p.holds, "inactive")
	}
	return p.describe(p.holds, "sendrecv")
}

// learn reads a description and returns its direction, "" where there is none.
// An answer says recvonly to a hold without being one.
func (p *seat) learn(m *sip.Message) string {
	if len(m.Body) == 0 {
		return ""
	}
	direction, addr, port := "sendrecv", "", 0
	for line := range strings.SplitSeq(string(m.Body), "\r\n") {
		switch {
		case strings.HasPrefix(line, "c="):
			addr = strings.Fields(line)[2]
		case strings.HasPrefix(line, "m="):
			port, _ = strconv.Atoi(strings.Fields(line)[1])
		case line == "a=sendonly", line == "a=recvonly", line == "a=inactive":
			direction = line[2:]
		}
	}
	ip, err := netip.ParseAddr(addr)
	if err != nil || port == 0 {
		p.d.s.fail(p.n, "a phone got no address for its media:\n%s", m.Body)
		return direction
	}
	p.to = net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, uint16(port)))
	return direction
}

// offered takes the other side's offer.
func (p *seat) offered(direction string) {
	p.held = direction == "sendonly" || direction == "inactive"
	p.locate()
}

// answered takes the other side's answer to an offer that asked for mine. To
// inactive there is only one answer, which says nothing new.
func (p *seat) answered(direction string, mine stance) {
	if mine != inactive {
		p.held = direction == "sendonly" || direction == "inactive"
	}
	p.locate()
}

// locate: a description without an address is a hold too.
func (p *seat) locate() {
	if p.to != nil && p.to.IP.IsUnspecified() {
		p.held, p.to = true, nil
	}
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

// OnProvisional and the other methods make a seat a [sip.User].
func (p *seat) OnProvisional(res *sip.Message) {
	if p.dialog.Reliable(res) {
		p.learn(res)
		p.dialog.Prack(res, "", nil, func(*sip.Message, error) {})
	}
	if p.state == calling {
		p.state = alerting
		p.note("")
	}
}

func (p *seat) OnAnswer(res *sip.Message) {
	offered := p.learn(res)
	p.offered(offered) // or answered, which is the same as long as nobody holds
	if p.story.delayed {
		p.dialog.Ack(res, "application/sdp", p.reply(offered))
	} else {
		p.dialog.Ack(res, "", nil)
	}
	p.state = talking
	p.note("answered")
}

func (p *seat) OnAnswerRepeated(*sip.Message) {}

func (p *seat) OnRefused(res *sip.Message, err error) {
	if err != nil {
		p.end(err.Error())
	} else {
		p.end(fmt.Sprintf("refused %d %s", res.Status, res.Reason))
	}
}

func (p *seat) OnRequest(tx *sip.ServerTx) {
	switch method := tx.Request.Method; method {
	case "BYE":
		tx.Reply(200, "")
		p.dialog.Closed()
		p.end("bye " + tx.Request.Get("Reason"))
	case "INVITE", "UPDATE":
		if p.offers || p.answer {
			tx.Reply(491, "")
			return
		}
		offered := p.learn(tx.Request)
		if offered != "" {
			p.offered(offered)
		}
		p.answer = method == "INVITE"
		if offered == "" {
			p.dialog.AnswerTo(tx, "application/sdp", p.offer(p.holds))
		} else {
			p.dialog.AnswerTo(tx, "application/sdp", p.reply(offered))
		}
		p.note("")
	case "NOTIFY":
		tx.Reply(200, "")
		if line, _, _ := strings.Cut(string(tx.Request.Body), "\r\n"); strings.HasPrefix(tx.Request.Get("Subscription-State"), "terminated") {
			p.mu.Lock()
			p.told = line
			p.mu.Unlock()
			if p.story.leaves && strings.Contains(line, " 200 ") && p.state == talking {
				p.dialog.Bye(nil)
				p.end("transferred it")
			}
			p.note("")
		}
	default:
		tx.Reply(200, "")
	}
}

func (p *seat) OnAck(ack *sip.Message, _ *sip.ServerTx) {
	p.answer = false
	if direction := p.learn(ack); direction != "" {
		p.answered(direction, p.holds)
	}
	if p.state == alerting {
		p.state = talking
	}
	p.note("")
}

func (p *seat) OnCancel() { p.end("cancelled") }

func (p *seat) OnAckTimeout() {
	p.dialog.Bye(nil)
	p.end("no ACK came")
}
