package calls

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/media"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/sip"
)

// Addresses of the world that every test lives in: two houses and the network
// between them.
var (
	alicePhone   = netip.MustParseAddrPort("10.1.0.2:5060")
	insideA      = netip.MustParseAddrPort("10.1.0.1:5062")
	outsideA     = netip.MustParseAddrPort("192.0.2.1:5060")
	outsideB     = netip.MustParseAddrPort("198.51.100.1:5060")
	insideB      = netip.MustParseAddrPort("10.2.0.1:5062")
	bobPhone     = netip.MustParseAddrPort("10.2.0.2:5060")
	awayA        = netip.MustParseAddrPort("203.0.113.1:5060") // where the outside listeners move to
	awayB        = netip.MustParseAddrPort("203.0.113.2:5060")
	strangerAddr = netip.MustParseAddrPort("203.0.113.66:5060")
)

// world is both houses on one network.
type world struct {
	t          *testing.T
	net        *memnet.Network
	a, b       *house
	alice, bob *phone
	seq        uint16
}

// house is one sipward with its media engine.
type house struct {
	proxy *b2bua.Proxy
	media *media.Engine
}

type worldOptions struct {
	net          memnet.Options
	outsideA     netip.AddrPort // zero: the usual one
	modeA, modeB policy.Mode    // between the houses; "": require
	peersOnly    bool
	rulesB       policy.Rules // beside modeB
	peerB        func(host string, addr netip.Addr) string
	dnsA         route.Lookup // nil: no names
	routesA      []string     // before the usual ones: pattern, target, side
	optionsA     func(*b2bua.Options)
	optionsB     func(*b2bua.Options)
	optionsW     func(*b2bua.Options)                // of a workstation
	at           func(netip.AddrPort) netip.AddrPort // where somebody is instead; nil: as above
}

func newWorld(t *testing.T, o worldOptions) *world {
	t.Helper()
	w := &world{t: t, net: memnet.New(o.net)}
	if o.modeA == "" {
		o.modeA = policy.Require
	}
	if o.modeB == "" {
		o.modeB = policy.Require
	}
	if !o.outsideA.IsValid() {
		o.outsideA = outsideA
	}
	at := o.at
	if at == nil {
		at = func(ap netip.AddrPort) netip.AddrPort { return ap }
	}
	w.a = w.house("a", at(insideA), at(o.outsideA), o.modeA, o, append(o.routesA, []string{
		"*@b.example", "sip:" + at(outsideB).String(), "outside",
		"alice", "sip:alice@" + at(alicePhone).String(), "inside"}...))
	w.b = w.house("b", at(insideB), at(outsideB), o.modeB, o, []string{
		"bob", "sip:bob@" + at(bobPhone).String(), "inside",
		"*@a.example", "sip:" + at(o.outsideA).String(), "outside"})
	w.alice = w.phone("alice", at(alicePhone), at(insideA))
	w.bob = w.phone("bob", at(bobPhone), at(insideB))
	return w
}

// testLog is a log that makes the test fail where sipward finds a mistake of its
// own: a handler that panicked, a call that changed as none may.
func testLog(t *testing.T) *slog.Logger {
	if os.Getenv("SIPWARD_TEST_LOG") == "" {
		return slog.New(mistakes{t, slog.NewTextHandler(io.Discard, nil)})
	}
	return slog.New(mistakes{t, slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})})
}

type mistakes struct {
	t *testing.T
	slog.Handler
}

func (m mistakes) Handle(ctx context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, "internal error") {
		var attrs []string
		r.Attrs(func(a slog.Attr) bool { attrs = append(attrs, a.String()); return true })
		m.t.Errorf("%s: %v", r.Message, attrs)
	}
	return m.Handler.Handle(ctx, r)
}

func (m mistakes) WithAttrs(attrs []slog.Attr) slog.Handler {
	return mistakes{m.t, m.Handler.WithAttrs(attrs)}
}

func (m mistakes) WithGroup(name string) slog.Handler {
	return mistakes{m.t, m.Handler.WithGroup(name)}
}

func (w *world) listen(ap netip.AddrPort) net.PacketConn {
	w.t.Helper()
	c, err := w.net.ListenPacket(ap)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) house(name string, inside, outside netip.AddrPort, mode policy.Mode, o worldOptions, routes []string) *house {
	w.t.Helper()
	log := testLog(w.t).With("house", name)
	engine, err := media.NewEngine(media.Options{PortMin: 20000, PortMax: 29999, Workers: 1, Listen: w.net.ListenPacket, Log: log})
	if err != nil {
		w.t.Fatal(err)
	}
	var rs []route.Route
	for i := 0; i < len(routes); i += 3 {
		p, err := route.ParsePattern(routes[i])
		if err != nil {
			w.t.Fatal(err)
		}
		rs = append(rs, route.Route{Match: p, To: routes[i+1], Side: routes[i+2]})
	}
	table, err := route.NewTable(rs)
	if err != nil {
		w.t.Fatal(err)
	}
	rules := policy.Rules{UnknownPeers: mode, ListedPeers: mode, Inside: policy.Off}
	var peer func(string, netip.Addr) string
	var lookup route.Lookup = noDNS{}
	if name == "a" && o.dnsA != nil {
		lookup = o.dnsA
	}
	if name == "b" {
		peer = o.peerB
		if o.rulesB.ListedPeers != "" {
			rules.ListedPeers = o.rulesB.ListedPeers
		}
	}
	pol, err := policy.New(rules)
	if err != nil {
		w.t.Fatal(err)
	}
	options := b2bua.Options{
		Listeners: []b2bua.Listener{
			{Name: "phones", Side: policy.Inside, Packet: w.listen(inside)},
			{Name: "internet", Side: policy.Outside, Packet: w.listen(outside), PeersOnly: o.peersOnly},
		},
		Routes: table, Policy: pol, Media: engine, UserAgent: "sipward", Log: log,
		Lookup: lookup, Peer: peer,
	}
	for which, change := range map[string]func(*b2bua.Options){"a": o.optionsA, "b": o.optionsB, "w": o.optionsW} {
		if which == name && change != nil {
			change(&options)
		}
	}
	p, err := b2bua.New(options)
	if err != nil {
		w.t.Fatal(err)
	}
	return &house{p, engine}
}

// close ends everything and checks that nothing stays behind.
func (w *world) close() {
	w.t.Helper()
	for _, h := range []*house{w.a, w.b} {
		h.close()
	}
	w.alice.close()
	w.bob.close()
	w.net.Close()
}

func (h *house) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	h.proxy.Shutdown(ctx)
	h.media.Close()
}

type sipDialog = sip.Dialog

type noDNS struct{}

func (noDNS) LookupSRV(context.Context, string, string, string) (string, []*net.SRV, error) {
	return "", nil, &net.DNSError{Err: "no such host", IsNotFound: true}
}
func (noDNS) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
}

// phone is a plain user agent with one RTP socket. It answers by itself
// unless told otherwise.
type phone struct {
	t       *testing.T
	name    string
	queue   sip.Queue
	stack   *sip.Stack
	lis     *sip.Listener
	proxy   netip.AddrPort
	rtp     net.PacketConn
	rtcp    net.PacketConn
	dialog  *sip.Dialog
	manual  bool // rings without answering
	refuse  int  // answers so
	early   bool // 183 with SDP first
	rel     bool // that one reliably, where the caller takes it
	delayed bool // calls without SDP
	body    func() []byte
	fields  []sip.Field              // of its INVITEs
	answers []sip.Field              // of its answers to them
	phrase  string                   // of its refusals
	as      string                   // its From; "": its name at its house
	first   func(*sip.Incoming) bool // sees requests first; true: answered
	within  func(*sip.ServerTx) bool // sees those of dialogs first; likewise

	user         sip.User // hears in its place, nil: itself
	prack        *sip.Message
	ack, lastReq *sip.Message
	answer       *sip.Message
	reinvited    *sip.Message
	events       chan string
	media        atomic.Pointer[netip.AddrPort] // where the other side wants RTP
	heard        chan []byte
}

// phone starts one; what setup changes holds from the first request on.
func (w *world) phone(name string, at, proxy netip.AddrPort, setup ...func(*phone)) *phone {
	p := &phone{t: w.t, name: name, proxy: proxy, events: make(chan string, 100), heard: make(chan []byte, 10000)}
	p.rtp = w.listen(netip.AddrPortFrom(at.Addr(), 4000))
	p.rtcp = w.listen(netip.AddrPortFrom(at.Addr(), 4001))
	p.body = func() []byte { return []byte(phoneSDP(at.Addr(), 4000)) }
	for _, f := range setup {
		f(p)
	}
	p.stack = sip.NewStack(sip.Options{Handler: p.incoming, UserAgent: "plain phone", Log: testLog(w.t).With("phone", name)})
	l, err := p.stack.Listen(sip.ListenerOptions{Name: name, Packet: w.listen(at)})
	if err != nil {
		w.t.Fatal(err)
	}
	p.lis = l
	go func() {
		buf := make([]byte, 2000)
		for {
			n, _, err := p.rtp.ReadFrom(buf)
			if err != nil {
				return
			}
			select {
			case p.heard <- append([]byte(nil), buf[:n]...):
			default:
			}
		}
	}()
	return p
}

func phoneSDP(addr netip.Addr, port int) string {
	family := "IP4"
	if addr.Is6() {
		family = "IP6"
	}
	return fmt.Sprintf("v=0\r\no=- 1 1 IN %[3]s %[1]v\r\ns=-\r\nc=IN %[3]s %[1]v\r\nt=0 0\r\nm=audio %[2]d RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=sendrecv\r\n", addr, port, family)
}

func (p *phone) close() {
	p.stack.Close()
	p.rtp.Close()
	p.rtcp.Close()
}

func (p *phone) event(s string) {
	select {
	case p.events <- s:
	default:
	}
}

// await returns when one of the events has come; others before it are passed
// over.
func (p *phone) await(want ...string) string {
	p.t.Helper()
	timeout := time.After(10 * time.Minute)
	var seen []string
	for {
		select {
		case got := <-p.events:
			seen = append(seen, got)
			for _, w := range want {
				if strings.HasPrefix(got, w) {
					return got
				}
			}
		case <-timeout:
			p.t.Fatalf("%s waits for %v; saw %v", p.name, want, seen)
		}
	}
}

func (p *phone) call(to string) {
	uri, _ := sip.ParseURI(to)
	self := sip.Address{URI: sip.URI{Scheme: "sip", User: p.name, Host: p.name[:1] + ".example"}}
	if p.as != "" {
		self.URI, _ = sip.ParseURI(p.as)
	}
	body := p.body()
	if p.delayed {
		body = nil
	}
	var user sip.User = p
	if p.user != nil {
		user = p.user
	}
	p.queue.Post(func() {
		d, err := p.stack.Dial(sip.Dial{Flow: p.lis.Flow(p.proxy), URI: uri, From: self, To: sip.Address{URI: uri}, ContactUser: p.name, Fields: p.fields,
			ContentType: "application/sdp", Body: body, Queue: &p.queue, User: user})
		if err != nil {
			p.t.Error(err)
		}
		p.dialog = d
	})
}

func (p *phone) do(f func(d *sip.Dialog)) { p.queue.Post(func() { f(p.dialog) }) }

func (p *phone) hangup() {
	p.do(func(d *sip.Dialog) { d.Bye(func() { p.event("bye answered") }) })
}

func (p *phone) learn(m *sip.Message) {
	if len(m.Body) == 0 {
		return
	}
	var addr, port string
	for _, l := range strings.Split(string(m.Body), "\r\n") {
		if strings.HasPrefix(l, "c=") {
			addr = strings.Fields(l)[2]
		}
		if strings.HasPrefix(l, "m=audio") {
			port = strings.Fields(l)[1]
		}
	}
	if ap, err := netip.ParseAddrPort(net.JoinHostPort(addr, port)); err == nil {
		p.media.Store(&ap)
	}
}

func (p *phone) incoming(in *sip.Incoming) {
	if p.first != nil && p.first(in) {
		return
	}
	if in.Method != "INVITE" {
		in.Reply(501, "")
		return
	}
	d := in.Accept(&p.queue, p, p.name)
	if d == nil {
		return
	}
	p.queue.Post(func() {
		p.dialog, p.lastReq = d, in.Message
		p.learn(in.Message)
		p.event("invited")
		switch {
		case p.refuse != 0:
			d.Refuse(p.refuse, p.phrase, p.answers...)
			return
		case p.early && p.rel && d.Takes100rel():
			d.ProvisionReliably(183, "", "application/sdp", p.body(), p.pracked)
		case p.early:
			d.Provision(183, "", "application/sdp", p.body())
		default:
			d.Provision(180, p.phrase, "", nil, p.answers...)
		}
		if !p.manual {
			d.Answer("application/sdp", p.body(), p.answers...)
		}
	})
}

// pracked: the PRACK of its reliable 183.
func (p *phone) pracked(tx *sip.ServerTx) {
	if tx == nil {
		p.dialog.Refuse(504, "")
		p.event("no prack")
		return
	}
	p.prack = tx.Request
	p.learn(tx.Request)
	tx.Reply(200, "")
	p.event("pracked")
}

func (p *phone) OnProvisional(res *sip.Message) {
	p.learn(res)
	if p.dialog.Reliable(res) {
		var body []byte
		if p.delayed && len(res.Body) > 0 {
			body = p.body()
		}
		p.dialog.Prack(res, "application/sdp", body, func(res *sip.Message, err error) {
			if err == nil {
				p.event(fmt.Sprintf("prack %d", res.Status))
			}
		})
		p.event(fmt.Sprintf("reliable %d", res.Status))
		return
	}
	p.event(fmt.Sprintf("%d", res.Status))
}
func (p *phone) OnAnswer(res *sip.Message) {
	p.learn(res)
	p.answer = res
	if p.delayed && len(res.Body) > 0 {
		p.dialog.Ack(res, "application/sdp", p.body())
	} else {
		p.dialog.Ack(res, "", nil)
	}
	p.event("answered")
}
func (p *phone) OnAnswerRepeated(*sip.Message) { p.event("answered again") }
func (p *phone) OnRefused(res *sip.Message, err error) {
	if res == nil {
		p.event("refused " + err.Error())
		return
	}
	p.answer = res
	p.event(fmt.Sprintf("refused %d %s", res.Status, res.Reason))
}
func (p *phone) OnRequest(tx *sip.ServerTx) {
	p.lastReq = tx.Request
	if p.within != nil && p.within(tx) {
		return
	}
	switch tx.Request.Method {
	case "BYE":
		tx.Reply(200, "")
		p.dialog.Closed()
		p.event("bye " + tx.Request.Get("Reason"))
	case "INVITE", "UPDATE":
		p.reinvited = tx.Request
		p.learn(tx.Request)
		p.dialog.AnswerTo(tx, "application/sdp", p.body())
		p.event("reinvited")
	default:
		tx.Reply(200, "")
		p.event(strings.ToLower(tx.Request.Method))
	}
}
func (p *phone) OnAck(ack *sip.Message, tx *sip.ServerTx) {
	p.ack = ack
	p.learn(ack)
	p.event("acked")
}
func (p *phone) OnCancel()     { p.event("cancelled") }
func (p *phone) OnAckTimeout() { p.event("ack timeout") }

// say sends n RTP packets, 20 ms apart.
func (p *phone) say(n int, seq uint16, mark byte) {
	for i := 0; i < n; i++ {
		pkt := make([]byte, 12+160)
		pkt[0], pkt[1] = 0x80, 0
		pkt[2], pkt[3] = byte((seq+uint16(i))>>8), byte(seq+uint16(i))
		pkt[11] = mark
		for j := range pkt[12:] {
			pkt[12+j] = mark ^ byte(i*7+j*13)
		}
		if to := p.media.Load(); to != nil {
			p.rtp.WriteTo(pkt, net.UDPAddrFromAddrPort(*to))
		}
		time.Sleep(20 * time.Millisecond)
	}
}
