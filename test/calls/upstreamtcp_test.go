package calls

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/media"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/sip"
)

// Towards a registrar over TCP, calls come back over the connection of the
// REGISTER; the phone is told to register again soon, and then opens another
// one where that has ended.
func TestAccountElsewhereOverTCP(t *testing.T) {
	t.Parallel()
	pol, err := policy.New(policy.Rules{UnknownPeers: policy.Prefer})
	if err != nil {
		t.Fatal(err)
	}
	engine, err := media.NewEngine(media.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	in := udp(t, "127.0.0.1")
	out, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	routes, err := route.NewTable(nil)
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := b2bua.New(b2bua.Options{
		Listeners: []b2bua.Listener{{Name: "phones", Side: policy.Inside, Packet: in}, {Name: "internet", Side: policy.Outside, Stream: out}},
		Routes:    routes, Policy: pol, Media: engine, Log: testLog(t), Lookup: localNames{},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		proxy.Shutdown(ctx)
	}()

	type registered struct {
		flow    sip.Flow
		contact string
	}
	heard := make(chan registered, 10)
	provider := func(addr string) (*sip.Stack, netip.AddrPort) {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		stack := sip.NewStack(sip.Options{Log: testLog(t), Handler: func(in *sip.Incoming) {
			a, _ := sip.ParseAddress(in.Get("Contact"))
			heard <- registered{in.Flow, a.URI.String()}
			in.Reply(200, "", sip.Field{Name: "Contact", Value: in.Get("Contact") + ";expires=3600"}, sip.Field{Name: "Expires", Value: "3600"})
		}})
		if _, err := stack.Listen(sip.ListenerOptions{Name: "provider", Stream: l}); err != nil {
			t.Fatal(err)
		}
		return stack, l.Addr().(*net.TCPAddr).AddrPort()
	}
	stack, host := provider("127.0.0.1:0")
	defer func() { stack.Close() }()

	phone, err := net.DialUDP("udp4", nil, in.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer phone.Close()
	read := func(start string) *sip.Message {
		t.Helper()
		phone.SetReadDeadline(time.Now().Add(20 * time.Second))
		for {
			b := make([]byte, 4096)
			n, err := phone.Read(b)
			if err != nil {
				t.Fatalf("no %s: %v", start, err)
			}
			if m, err := sip.Parse(b[:n]); err == nil && strings.HasPrefix(string(b[:n]), start) {
				return m
			}
		}
	}
	register := func(n int) registered {
		t.Helper()
		fmt.Fprintf(phone, "REGISTER sip:%[1]v;transport=tcp SIP/2.0\r\nVia: SIP/2.0/UDP %[2]v;branch=z9hG4bKtcp%[3]d;rport\r\nFrom: <sip:alice@%[1]v>;tag=u\r\nTo: <sip:alice@%[1]v>\r\n"+
			"Call-ID: tcp\r\nCSeq: %[3]d REGISTER\r\nContact: <sip:alice@%[2]v>\r\nExpires: 3600\r\nContent-Length: 0\r\n\r\n", host, phone.LocalAddr(), n)
		res := read("SIP/2.0 ")
		if res.Status != 200 || !strings.HasSuffix(res.Get("Contact"), ";expires=120") || res.Has("Expires") {
			t.Fatalf("%d, Contact %q, Expires %q", res.Status, res.Get("Contact"), res.Get("Expires"))
		}
		return <-heard
	}
	first := register(1)
	if !strings.HasSuffix(first.contact, ";transport=tcp") {
		t.Errorf("the registrar knows %s", first.contact)
	}
	uri, _ := sip.ParseURI(first.contact)
	caller := &phoneless{}
	caller.queue.Post(func() {
		sdp := phoneSDP(netip.MustParseAddr("127.0.0.1"), 40000)
		if _, err := stack.Dial(sip.Dial{Flow: first.flow, URI: uri, From: sip.Address{URI: sip.URI{Scheme: "sip", User: "bob", Host: "b.example"}}, To: sip.Address{URI: uri},
			ContentType: "application/sdp", Body: []byte(sdp), Queue: &caller.queue, User: caller}); err != nil {
			t.Error(err)
		}
	})
	read("INVITE sip:alice@")
	if v := proxy.Calls(); len(v) != 1 || v[0].Legs[0].Peer != host.String() {
		t.Errorf("the call did not come over the connection to the registrar: %+v", v)
	}

	stack.Close()
	stack, _ = provider(host.String())
	if second := register(2); second.contact != first.contact {
		t.Errorf("%s became %s", first.contact, second.contact)
	}
}

// phoneless is a caller that only wants to be heard.
type phoneless struct{ queue sip.Queue }

func (*phoneless) OnProvisional(*sip.Message)        {}
func (*phoneless) OnAnswer(*sip.Message)             {}
func (*phoneless) OnAnswerRepeated(*sip.Message)     {}
func (*phoneless) OnRefused(*sip.Message, error)     {}
func (*phoneless) OnRequest(tx *sip.ServerTx)        { tx.Reply(200, "") }
func (*phoneless) OnAck(*sip.Message, *sip.ServerTx) {}
func (*phoneless) OnCancel()                         {}
func (*phoneless) OnAckTimeout()                     {}
