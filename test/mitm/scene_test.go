package mitm

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/demo"
	"github.com/sipward/sipward/demo/audio"
	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/media"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/record"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/sas/attest"
	"github.com/sipward/sipward/trust"
)

// delay is how long everything takes on its way.
const delay = 5 * time.Millisecond

const (
	alice   = "sip:alice@a.example"
	bob     = "sip:bob@b.example"
	mallory = "sip:mallory@b.example"
)

var (
	phoneA   = netip.MustParseAddr("10.1.0.2")
	insideA  = netip.MustParseAddrPort("10.1.0.1:5062")
	outsideA = netip.MustParseAddrPort("192.0.2.1:5060")
	outsideB = netip.MustParseAddrPort("198.51.100.1:5060")
	insideB  = netip.MustParseAddrPort("10.2.0.1:5062")
	phoneB   = netip.MustParseAddr("10.2.0.2")
	manAt    = netip.MustParseAddrPort("203.0.113.66:5060")
)

// scene is two houses that call each other, and the man between them.
type scene struct {
	t          *testing.T
	net        *memnet.Network
	streams    *memnet.Streams // nil: SIP between the houses is over UDP
	man        *Man
	a, b       *house
	alice, bob *demo.Phone
	forks      []*Fork

	stood, stands string // standing, before and after what he did
}

// house is one sipward, what it remembers and what it has said of its calls.
type house struct {
	proxy  *b2bua.Proxy
	media  *media.Engine
	memory *trust.Memory
	log    *history
}

// word is one of trust, in an event.
type word struct {
	word string
	at   time.Time
}

// history is what a house said of its calls, in events and in the record.
type history struct {
	mu      sync.Mutex
	words   []word
	notices []string // "downgrade", "key changed"
	calls   []record.Call
}

// Add implements the record that a proxy writes to.
func (h *history) Add(c record.Call) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, c)
}

func (h *history) event(e b2bua.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.words = append(h.words, word{e.Call.Trust, time.Now()})
	if e.Call.Downgrade {
		h.notices = append(h.notices, "downgrade")
	}
	if e.Call.KeyChanged {
		h.notices = append(h.notices, "key changed")
	}
}

func (h *history) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.words, h.notices, h.calls = nil, nil, nil
}

// key makes the identity key that a letter stands for.
func key(t testing.TB, letter byte) *attest.Ed25519 {
	t.Helper()
	k, err := attest.NewEd25519(bytes.Repeat([]byte{letter}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// knows has a house remember a key from an earlier call that it had dialled, and
// whose words were read where said says so.
func (h *house) knows(t testing.TB, identity string, letter byte, said trust.SAS) {
	t.Helper()
	_, changes := h.memory.Judge(trust.Facts{Identity: identity, Dialled: true, Exchange: trust.Confirmed, SAS: said,
		Signatures: []attest.Result{{State: attest.Right, Value: attest.Value{Type: attest.TypeEd25519, Key: key(t, letter).Public(), Identity: identity}}}}, time.Now())
	if err := h.memory.Learn(changes); err != nil {
		t.Fatal(err)
	}
}

// setting is what a scene begins with.
type setting struct {
	rules    policy.Rules
	keys     [2]string // letters, of A and of B
	wire     wire
	rekeying bool // house A replaces keys every three seconds
}

// inScene plays an attack in a bubble, whose clock runs by itself.
func inScene(t *testing.T, o setting, play func(t *testing.T, s *scene)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &scene{t: t, net: memnet.New(memnet.Options{Delay: delay})}
		s.man = New(s.net, outsideA.Addr(), outsideB.Addr(), o.wire.groups()...)
		to := "sip:" + outsideB.String()
		if o.wire.stream {
			s.streams = s.man.Streams(delay)
			to += ";transport=tcp"
		}
		phone := func(o demo.PhoneOptions) *demo.Phone {
			o.Network, o.Repeat = s.net, true
			p, err := demo.NewPhone(o)
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		s.bob = phone(demo.PhoneOptions{Name: "bob", Domain: "b.example", Addr: phoneB, Play: audio.Bob(), AnswerAfter: 200 * time.Millisecond})
		s.alice = phone(demo.PhoneOptions{Name: "alice", Domain: "a.example", Addr: phoneA, Proxy: insideA, Play: audio.Alice()})
		s.a = s.house("a.example", insideA, outsideA, o, o.keys[0],
			route.Route{Match: route.MustPattern("*@b.example"), To: to, Side: route.Outside})
		s.b = s.house("b.example", insideB, outsideB, o, o.keys[1],
			route.Route{Match: route.MustPattern("bob"), To: s.bob.URI(), Side: route.Inside})
		defer s.close()
		play(t, s)
	})
}

func (s *scene) house(domain string, inside, outside netip.AddrPort, o setting, keys string, way route.Route) *house {
	s.t.Helper()
	check := func(err error) {
		if err != nil {
			s.t.Fatal(err)
		}
	}
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("SIPWARD_TEST_LOG") != "" {
		log = slog.New(slog.NewTextHandler(s.t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})).With("house", domain)
	}
	memory, err := trust.Open(nil)
	check(err)
	engine, err := media.NewEngine(media.Options{Workers: 1, Listen: s.net.ListenPacket, Log: log})
	check(err)
	table, err := route.NewTable([]route.Route{way})
	check(err)
	pol, err := policy.New(o.rules)
	check(err)
	in, err := s.net.ListenPacket(inside)
	check(err)
	internet := b2bua.Listener{Name: "internet", Side: policy.Outside}
	if s.streams != nil {
		internet.Stream, internet.Dial = s.streams.Listen(outside), s.streams.From(outside.Addr())
	} else {
		internet.Packet, err = s.net.ListenPacket(outside)
		check(err)
	}
	var rekey b2bua.Rekey
	if o.rekeying {
		rekey.MinInterval = 500 * time.Millisecond
		if outside == outsideA {
			rekey.Every = 3 * time.Second
		}
	}
	var signers []attest.Signer
	for _, l := range []byte(keys) {
		signers = append(signers, key(s.t, l))
	}
	h := &house{media: engine, memory: memory, log: &history{}}
	h.proxy, err = b2bua.New(b2bua.Options{
		Listeners: []b2bua.Listener{
			{Name: "phones", Side: policy.Inside, Packet: in, Identities: func(id string) bool { return strings.HasSuffix(id, "@"+domain) }},
			internet,
		},
		Routes: table, Policy: pol, Media: engine, Memory: memory, Record: h.log, Rekey: rekey, Groups: o.wire.groups(), UserAgent: "sipward", Log: log,
		Signers: func(string) []attest.Signer { return signers },
	})
	check(err)
	events, _ := h.proxy.Subscribe(1000)
	go func() { // until the proxy ends
		for e := range events {
			h.log.event(e)
		}
	}()
	return h
}

func (s *scene) close() {
	for _, f := range s.forks {
		f.Close()
	}
	for _, h := range []*house{s.a, s.b} {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		h.proxy.Shutdown(ctx)
		cancel()
		h.media.Close()
	}
	s.alice.Close()
	s.bob.Close()
	s.net.Close()
}

// call has alice call bob and both speak; what the phones have of it comes back
// after 10 s, or once it is over. Bob's is nil where his phone did not ring.
func (s *scene) call() (atAlice, atBob *demo.Call) {
	s.t.Helper()
	atAlice, err := s.alice.Call(bob)
	if err != nil {
		s.t.Fatal(err)
	}
	select {
	case <-atAlice.Ended():
		time.Sleep(time.Second)
	case <-time.After(10 * time.Second):
	}
	synctest.Wait()
	select {
	case atBob = <-s.bob.Calls():
	default:
	}
	return atAlice, atBob
}

// over ends a call where it stands and waits until nothing is left of it.
func (s *scene) over(c *demo.Call) {
	s.t.Helper()
	c.Hangup()
	time.Sleep(time.Minute)
	synctest.Wait()
	for _, h := range []*house{s.a, s.b} {
		if n := len(h.proxy.Calls()); n != 0 {
			s.t.Errorf("%d calls are left", n)
		}
	}
}
