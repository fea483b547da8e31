package b2bua

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"testing"

	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/sas/attest"
	"github.com/sipward/sipward/sip"
)

func TestIdentityOf(t *testing.T) {
	t.Parallel()
	for uri, want := range map[string]string{
		"sip:bob@B.Example":                    "sip:bob@b.example",
		"sips:bob@b.example":                   "sip:bob@b.example",
		"sip:bob@b.example:5070;transport=tcp": "sip:bob@b.example",
		"sip:Bob@b.example":                    "sip:Bob@b.example",
		"sip:bob@[2001:DB8::1]":                "sip:bob@[2001:db8::1]",
		"sip:b.example":                        "",
		"sip:anonymous@anonymous.invalid":      "",
		"sip:bob;x=1@b.example":                "",
		"tel:+4930123":                         "",
	} {
		u, err := sip.ParseURI(uri)
		if err != nil {
			t.Fatal(uri, err)
		}
		if got := identityOf(u); got != want {
			t.Errorf("%s: %q, want %q", uri, got, want)
		}
	}
}

// A phone with an account elsewhere is signed for where its registrar has proved
// its name, and not where anybody could have answered 200.
func TestProvedElsewhere(t *testing.T) {
	t.Parallel()
	stack := sip.NewStack(sip.Options{Handler: func(*sip.Incoming) {}, Log: slog.New(slog.DiscardHandler)})
	defer stack.Close()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	secure, err := stack.Listen(sip.ListenerOptions{Name: "tls", Stream: socket, TLS: &sip.TLSOptions{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, context.Canceled }}})
	if err != nil {
		t.Fatal(err)
	}
	packet, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	open, err := stack.Listen(sip.ListenerOptions{Name: "udp", Packet: packet})
	if err != nil {
		t.Fatal(err)
	}
	routes, err := route.NewTable([]route.Route{{Match: route.MustPattern("*@routed.example"), To: "sip:proxy.example;transport=tls", Side: route.Outside}})
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{o: Options{Routes: routes}}
	registrar := netip.MustParseAddrPort("192.0.2.9:5061")
	for _, test := range []struct {
		aor  string
		flow sip.Flow
		want bool
	}{
		{"sip:alice@pbx.example", secure.FlowTo(registrar, "pbx.example"), true},
		{"sip:alice@PBX.example", secure.FlowTo(registrar, "pbx.example"), true},
		{"sip:alice@pbx.example", secure.FlowTo(registrar, "mallory.example"), false},
		{"sip:alice@pbx.example", secure.Flow(registrar), false},
		{"sip:alice@pbx.example", open.Flow(registrar), false},
		{"sip:alice@pbx.example", sip.Flow{}, false},
		{"sip:alice@routed.example", secure.FlowTo(registrar, "proxy.example"), true},
		{"sip:alice@routed.example", secure.FlowTo(registrar, "routed.example"), false},
	} {
		if got := p.provedElsewhere(binding{aor: test.aor, registrar: test.flow}); got != test.want {
			t.Errorf("%s by %s %q: %v", test.aor, test.flow.Network(), test.flow.Name(), got)
		}
	}
}

// What signing and checking with ed25519 cost a call at one end: a signature of its
// own, and the check of two of the other end.
func BenchmarkSignatures(b *testing.B) {
	key, err := attest.NewEd25519(make([]byte, 32))
	if err != nil {
		b.Fatal(err)
	}
	c := &Call{p: &Proxy{log: slog.New(slog.DiscardHandler)}}
	for b.Loop() {
		values := c.sign(context.Background(), []attest.Signer{key}, attest.Initiator, [32]byte{1}, "sip:alice@a.example")
		for _, r := range attest.CheckAll(context.Background(), nil, attest.Initiator, [32]byte{1}, append(values, values...)) {
			if r.State != attest.Right {
				b.Fatal(r)
			}
		}
	}
}
