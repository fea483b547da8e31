package calls

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/media"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/sip"
)

// TestHundredCallsAtOnce holds 100 calls through two sipwards on real sockets
// of the loopback interface, each with 50 packets a second in both directions,
// and misses none of them. The race detector costs ten times the CPU, so there
// it holds 20.
func TestHundredCallsAtOnce(t *testing.T) {
	calls, packets := 100, 200
	if raceEnabled {
		calls, packets = 20, 100
	}
	a, b := newSwarm(t, "alice"), newSwarm(t, "bob")
	houseB := realHouse(t, "127.0.0.1", map[string]string{"*@b.example": "sip:*@" + b.lis.Local().String()}, nil)
	houseA := realHouse(t, "127.0.0.1", nil, map[string]string{"*@b.example": "sip:" + houseB.outside.String()})

	for i := range calls {
		a.dial(t, i, houseA.inside)
	}
	a.wait(t, calls)
	b.wait(t, calls)
	for _, h := range []*realProxy{houseA, houseB} {
		h.allEncrypted(t, calls)
	}

	var wg sync.WaitGroup
	for _, s := range []*swarm{a, b} {
		wg.Go(func() { s.talk(packets) })
	}
	wg.Wait()
	want := uint64(calls * packets)
	deadline := time.Now().Add(5 * time.Second)
	for (a.heard.Load() < want || b.heard.Load() < want) && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond) // nothing tells that a packet will never come
	}
	if a.heard.Load() != want || b.heard.Load() != want {
		t.Errorf("heard %d and %d of %d packets", a.heard.Load(), b.heard.Load(), want)
	}
	if a.strange.Load() != 0 || b.strange.Load() != 0 {
		t.Errorf("%d and %d packets of other calls", a.strange.Load(), b.strange.Load())
	}
	for _, h := range []*realProxy{houseA, houseB} {
		for _, v := range h.proxy.Calls() {
			for _, l := range v.Legs {
				if l.Lost+l.DroppedAuth+l.DroppedReplay+l.DroppedSource != 0 {
					t.Errorf("call %s: %+v", v.ID, l)
				}
			}
		}
	}
	a.hangup()
	houseA.stop(t)
	houseB.stop(t)
}

// realProxy is a sipward on real sockets.
type realProxy struct {
	proxy           *b2bua.Proxy
	media           *media.Engine
	inside, outside netip.AddrPort
}

func realHouse(t *testing.T, ip string, inside, outside map[string]string, changes ...func(*b2bua.Options)) *realProxy {
	t.Helper()
	var routes []route.Route
	for side, m := range map[string]map[string]string{route.Inside: inside, route.Outside: outside} {
		for pattern, to := range m {
			p, err := route.ParsePattern(pattern)
			if err != nil {
				t.Fatal(err)
			}
			routes = append(routes, route.Route{Match: p, To: to, Side: side})
		}
	}
	table, err := route.NewTable(routes)
	if err != nil {
		t.Fatal(err)
	}
	pol, err := policy.New(policy.Rules{UnknownPeers: policy.Require})
	if err != nil {
		t.Fatal(err)
	}
	engine, err := media.NewEngine(media.Options{})
	if err != nil {
		t.Fatal(err)
	}
	in, out := udp(t, ip), udp(t, ip)
	options := b2bua.Options{
		Listeners: []b2bua.Listener{{Name: "phones", Side: policy.Inside, Packet: in}, {Name: "internet", Side: policy.Outside, Packet: out}},
		Routes:    table, Policy: pol, Media: engine, Log: testLog(t),
	}
	all(changes...)(&options)
	p, err := b2bua.New(options)
	if err != nil {
		t.Fatal(err)
	}
	return &realProxy{p, engine, in.LocalAddr().(*net.UDPAddr).AddrPort(), out.LocalAddr().(*net.UDPAddr).AddrPort()}
}

func udp(t *testing.T, ip string) net.PacketConn {
	t.Helper()
	c, err := net.ListenPacket("udp", ip+":0")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (h *realProxy) allEncrypted(t *testing.T, n int) {
	t.Helper()
	events, cancel := h.proxy.Subscribe(10 * n)
	defer cancel()
	timeout := time.After(20 * time.Second)
	for {
		ready := 0
		for _, v := range h.proxy.Calls() {
			if v.Protection == "srtp" && v.State == "established" {
				ready++
			}
		}
		if ready == n {
			return
		}
		select {
		case <-events:
		case <-timeout:
			t.Fatalf("%d of %d calls encrypted", ready, n)
		}
	}
}

func (h *realProxy) stop(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := h.proxy.Shutdown(ctx); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	if err := h.media.Close(); err != nil {
		t.Error(err)
	}
}

// swarm is many phones behind one signalling address.
type swarm struct {
	name           string
	stack          *sip.Stack
	lis            *sip.Listener
	up             chan struct{}
	heard, strange atomic.Uint64

	mu    sync.Mutex
	calls []*bee
}

// bee is one phone of a swarm, in one call.
type bee struct {
	s      *swarm
	id     string // the user part that tells calls apart
	queue  sip.Queue
	dialog *sip.Dialog
	rtp    net.PacketConn
	to     *net.UDPAddr
}

func newSwarm(t *testing.T, name string) *swarm {
	t.Helper()
	s := &swarm{name: name, up: make(chan struct{}, 1000)}
	s.stack = sip.NewStack(sip.Options{Handler: s.incoming, Log: testLog(t)})
	l, err := s.stack.Listen(sip.ListenerOptions{Name: name, Packet: udp(t, "127.0.0.1")})
	if err != nil {
		t.Fatal(err)
	}
	s.lis = l
	t.Cleanup(func() {
		s.stack.Close()
		for _, b := range s.calls {
			b.rtp.Close()
		}
	})
	return s
}

func (s *swarm) bee(id string) *bee {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	c.(*net.UDPConn).SetReadBuffer(1 << 20)
	b := &bee{s: s, id: id, rtp: c}
	s.mu.Lock()
	s.calls = append(s.calls, b)
	s.mu.Unlock()
	go b.listen()
	return b
}

func (b *bee) listen() {
	buf := make([]byte, 2000)
	for {
		n, _, err := b.rtp.ReadFrom(buf)
		if err != nil {
			return
		}
		switch {
		case n != 172 || buf[1] != 0: // RTCP that found its way, or noise
		case string(buf[12:12+len(b.id)]) != b.id:
			b.s.strange.Add(1)
		default:
			b.s.heard.Add(1)
		}
	}
}

func (b *bee) sdp() []byte {
	a := b.rtp.LocalAddr().(*net.UDPAddr)
	return []byte(phoneSDP(a.AddrPort().Addr(), a.Port))
}

func (s *swarm) dial(t *testing.T, i int, proxy netip.AddrPort) {
	b := s.bee(fmt.Sprintf("call%04d", i))
	uri := sip.URI{Scheme: "sip", User: b.id, Host: "b.example"}
	b.queue.Post(func() {
		d, err := s.stack.Dial(sip.Dial{Flow: s.lis.Flow(proxy), URI: uri, From: sip.Address{URI: sip.URI{Scheme: "sip", User: b.id, Host: "a.example"}},
			To: sip.Address{URI: uri}, ContentType: "application/sdp", Body: b.sdp(), Queue: &b.queue, User: b})
		if err != nil {
			t.Error(err)
		}
		b.dialog = d
	})
}

func (s *swarm) incoming(in *sip.Incoming) {
	if in.Method != "INVITE" {
		return
	}
	b := s.bee(in.URI.User)
	if b.dialog = in.Accept(&b.queue, b, b.id); b.dialog == nil {
		return
	}
	b.queue.Post(func() {
		b.learn(in.Message)
		b.dialog.Answer("application/sdp", b.sdp())
	})
}

func (b *bee) learn(m *sip.Message) {
	p := &phone{}
	p.learn(m)
	b.to = net.UDPAddrFromAddrPort(*p.media.Load())
}

func (s *swarm) wait(t *testing.T, n int) {
	t.Helper()
	timeout := time.After(30 * time.Second)
	for i := range n {
		select {
		case <-s.up:
		case <-timeout:
			t.Fatalf("%s: %d of %d calls came up", s.name, i, n)
		}
	}
}

// talk sends n packets on every call, one every 20 ms.
func (s *swarm) talk(n int) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	pkt := make([]byte, 172)
	pkt[0] = 0x80
	for i := range n {
		binary.BigEndian.PutUint16(pkt[2:], uint16(i))
		binary.BigEndian.PutUint32(pkt[4:], uint32(i*160))
		for _, b := range s.calls {
			copy(pkt[12:], b.id)
			b.rtp.WriteTo(pkt, b.to)
		}
		<-tick.C
	}
}

func (s *swarm) hangup() {
	for _, b := range s.calls {
		b.queue.Post(func() { b.dialog.Bye(nil) })
	}
}

func (b *bee) OnProvisional(*sip.Message)    {}
func (b *bee) OnAnswerRepeated(*sip.Message) {}
func (b *bee) OnAnswer(res *sip.Message) {
	b.learn(res)
	b.dialog.Ack(res, "", nil)
	b.s.up <- struct{}{}
}
func (b *bee) OnRefused(*sip.Message, error) {}
func (b *bee) OnRequest(tx *sip.ServerTx) {
	if tx.Request.Method == "INVITE" {
		b.dialog.AnswerTo(tx, "application/sdp", b.sdp())
		return
	}
	tx.Reply(200, "")
	if tx.Request.Method == "BYE" {
		b.dialog.Closed()
	}
}
func (b *bee) OnAck(*sip.Message, *sip.ServerTx) { b.s.up <- struct{}{} }
func (b *bee) OnCancel()                         {}
func (b *bee) OnAckTimeout()                     {}
