package calls

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
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

// certificate makes one for a name that signs itself, and a pool that trusts it.
func certificate(t *testing.T, name string) (*tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}

// localNames answers every name with this machine.
type localNames struct{}

func (localNames) LookupSRV(context.Context, string, string, string) (string, []*net.SRV, error) {
	return "", nil, &net.DNSError{Err: "no such host", IsNotFound: true}
}
func (localNames) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
}

// Between two sipwards over TLS the hybrid exchange is agreed, and a peer that
// cannot prove the name that was called gets no call.
func TestPeersOverTLS(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		proves string
		up     bool
	}{"the right name": {"b.example", true}, "another name": {"mallory.example", false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := newSwarm(t, "alice"), newSwarm(t, "bob")
			cert, trusted := certificate(t, c.proves)
			houseB := secureHouse(t, cert, nil, route.Route{Match: route.MustPattern("*@b.example"), To: "sip:*@" + b.lis.Local().String(), Side: route.Inside})
			own, _ := certificate(t, "a.example")
			houseA := secureHouse(t, own, trusted, route.Route{Match: route.MustPattern("*@b.example"), To: "sip:b.example:" + itoa(int(houseB.outside.Port())) + ";transport=tls", Side: route.Outside})
			defer houseB.stop(t)
			defer houseA.stop(t)
			events, cancel := houseA.proxy.Subscribe(100)
			defer cancel()
			a.dial(t, 1, houseA.inside)
			if c.up {
				a.wait(t, 1)
				b.wait(t, 1)
				houseA.allEncrypted(t, 1)
				if v := houseA.proxy.Calls(); v[0].Group != "x25519mlkem768" {
					t.Errorf("%+v", v)
				}
				a.hangup()
				return
			}
			for e := range events {
				if e.Type == "call-ended" {
					if !strings.Contains(e.Call.Reason, "b.example") {
						t.Errorf("the reason does not name the name: %q", e.Call.Reason)
					}
					break
				}
			}
			if len(houseB.proxy.Calls()) != 0 {
				t.Error("the call has reached who could not prove the name")
			}
		})
	}
}

// secureHouse is a sipward on real sockets whose outside speaks TLS.
func secureHouse(t *testing.T, cert *tls.Certificate, trusted *x509.CertPool, r route.Route, change ...func(*b2bua.Options)) *realProxy {
	t.Helper()
	table, err := route.NewTable([]route.Route{r})
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
	in := udp(t, "127.0.0.1")
	out, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := b2bua.Options{
		Listeners: []b2bua.Listener{{Name: "phones", Side: policy.Inside, Packet: in}, {Name: "internet", Side: policy.Outside, Stream: out,
			TLS: &sip.TLSOptions{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert, nil }, RootCAs: trusted}}},
		Routes: table, Policy: pol, Media: engine, Log: testLog(t), Lookup: localNames{},
	}
	for _, f := range change {
		f(&o)
	}
	p, err := b2bua.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return &realProxy{p, engine, in.LocalAddr().(*net.UDPAddr).AddrPort(), out.Addr().(*net.TCPAddr).AddrPort()}
}

// What must be encrypted goes over TLS to a listed peer, which has proved its
// name, and to no other.
func TestMessageOverTLS(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fromA, fromB string // how each house lists the other
		want         int
	}{
		"both list": {"house-b", "house-a", 200}, "the sender does not": {"", "house-a", 403}, "the receiver does not": {"house-b", "", 403},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := make(chan string, 1)
			var queue sip.Queue
			phones := sip.NewStack(sip.Options{Log: testLog(t), Handler: func(in *sip.Incoming) {
				in.Reply(200, "")
				got <- string(in.Body)
			}})
			defer phones.Close()
			l, err := phones.Listen(sip.ListenerOptions{Name: "phones", Packet: udp(t, "127.0.0.1")})
			if err != nil {
				t.Fatal(err)
			}
			lists := func(peer string) func(*b2bua.Options) {
				return func(o *b2bua.Options) { o.Peer = func(string, netip.Addr) string { return peer } }
			}
			cert, trusted := certificate(t, "b.example")
			houseB := secureHouse(t, cert, nil, route.Route{Match: route.MustPattern("*@b.example"), To: "sip:*@" + l.Local().String(), Side: route.Inside}, lists(c.fromB))
			own, _ := certificate(t, "a.example")
			houseA := secureHouse(t, own, trusted, route.Route{Match: route.MustPattern("*@b.example"), To: "sip:b.example:" + itoa(int(houseB.outside.Port())) + ";transport=tls", Side: route.Outside, Peer: c.fromA}, lists(c.fromA))
			defer houseB.stop(t)
			defer houseA.stop(t)
			uri, _ := sip.ParseURI("sip:bob@b.example")
			m := &sip.Message{Method: "MESSAGE", URI: uri, Body: []byte("hello"), Fields: []sip.Field{{Name: "From", Value: "<sip:alice@a.example>;tag=1"}, {Name: "To", Value: "<sip:bob@b.example>"}, {Name: "Call-ID", Value: "m"},
				{Name: "CSeq", Value: "1 MESSAGE"}, {Name: "Content-Type", Value: "text/plain"}}}
			status := make(chan int, 1)
			err = phones.Request(sip.RequestOptions{Flow: l.Flow(houseA.inside), Message: m, Queue: &queue, Handle: func(res *sip.Message, err error) {
				if err != nil {
					t.Error(err)
					status <- 0
				} else if res.Status >= 200 {
					status <- res.Status
				}
			}})
			if err != nil {
				t.Fatal(err)
			}
			if s := <-status; s != c.want {
				t.Fatalf("answered %d, want %d", s, c.want)
			}
			if c.want == 200 {
				if text := <-got; text != "hello" {
					t.Errorf("bob read %q", text)
				}
			} else if len(got) != 0 {
				t.Error("bob got it")
			}
		})
	}
}
