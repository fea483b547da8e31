package sip

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sipward/sipward/sip/certs"
)

// counting is a listener that counts whom it has accepted.
type counting struct {
	net.Listener
	n atomic.Int32
}

func (c *counting) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err == nil {
		c.n.Add(1)
	}
	return conn, err
}

// tlsStack is a stack with TLS on a real socket of the loopback.
func tlsStack(t testing.TB, h Handler, o *TLSOptions) (*Stack, *Listener, *counting) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &counting{Listener: ln}
	s := NewStack(Options{Handler: h, Log: quietLog})
	l, err := s.Listen(ListenerOptions{Stream: c, TLS: o})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, l, c
}

// refusal calls a peer and returns why that failed.
func refusal(t testing.TB, s *Stack, f Flow) error {
	t.Helper()
	u := newUser()
	over := make(chan error, 1)
	u.refused = func(_ *Message, err error) { over <- err }
	u.do(func() {
		uri := URI{Scheme: "sip", Host: "h"}
		if _, err := s.Dial(Dial{Flow: f, URI: uri, From: Address{URI: uri}, To: Address{URI: uri}, Queue: u.queue, User: u}); err != nil {
			over <- err
		}
	})
	select {
	case err := <-over:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("the user was told nothing")
		return nil
	}
}

// A call that both sides change and one ends, over one connection, though the
// Contact fields name addresses and the certificate does not.
func TestTLSCall(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "test authority")
	callee, caller := newUser(), newUser()
	_, lb, accepted := tlsStack(t, callee.taking(func() { callee.dialog.Answer("", nil) }), ca.with(ca.issue(t, named("bob.example"))))
	s, la, back := tlsStack(t, nil, ca.with(ca.issue(t, named("alice.example"))))
	if lb.Network != "tls" || lb.ContactURI("bob").String() != "sip:bob@"+lb.Local().String()+";transport=tls" {
		t.Errorf("%s, %s", lb.Network, lb.ContactURI("bob"))
	}
	acked, changed, gone := make(chan struct{}, 2), make(chan string, 2), make(chan struct{})
	callee.ack = func(ack *Message, tx *ServerTx) {
		if !strings.HasPrefix(tx.Request.Get("Via"), "SIP/2.0/TLS "+la.Local().String()+";") {
			t.Errorf("Via %s", tx.Request.Get("Via"))
		}
		acked <- struct{}{}
	}
	caller.ack = func(*Message, *ServerTx) { acked <- struct{}{} }
	caller.dialTo(t, s, la.FlowTo(lb.Local(), "BOB.example."))
	<-acked
	for _, u := range []*user{callee, caller} {
		u.do(func() {
			u.dialog.Do("INVITE", "", nil, func(res *Message, err error) {
				switch {
				case err != nil:
					changed <- err.Error()
				case res.Status >= 200:
					u.dialog.Ack(res, "", nil)
					changed <- itoa(res.Status)
				}
			})
		})
		if got := <-changed; got != "200" {
			t.Fatalf("re-INVITE: %s", got)
		}
		<-acked // by the other one
	}
	caller.do(func() { caller.dialog.Bye(func() { close(gone) }) })
	<-gone
	if accepted.n.Load() != 1 || back.n.Load() != 0 {
		t.Errorf("%d connections there, %d back", accepted.n.Load(), back.n.Load())
	}
}

// dialTo is dial on a flow.
func (u *user) dialTo(t testing.TB, s *Stack, f Flow) {
	t.Helper()
	u.do(func() {
		uri := URI{Scheme: "sip", User: "bob", Host: "bob.example"}
		d, err := s.Dial(Dial{Flow: f, URI: uri, From: Address{URI: URI{Scheme: "sip", User: "alice", Host: "alice.example"}},
			To: Address{URI: uri}, ContactUser: "alice", Queue: u.queue, User: u})
		if err != nil {
			t.Error(err)
		}
		u.dialog = d
	})
}

func TestTLSCertificates(t *testing.T) {
	t.Parallel()
	ca, other, none := newAuthority(t, "test authority"), newAuthority(t, "other\nauthority"), &authority{}
	s, l, _ := tlsStack(t, nil, ca.with(ca.issue(t, named("alice.example"))))
	for _, tt := range []struct {
		what string
		cert *tls.Certificate
		name string // called
		want string // of the error; "": none
		as   any
	}{
		{"good", ca.issue(t, named("bob.example", "bob.example.org")), "bob.example.org", "", nil},
		{"any host of a domain", ca.issue(t, named("*.example")), "bob.example", "", nil},
		{"an address", ca.issue(t, named("127.0.0.1")), "", "", nil},
		{"an address as name", ca.issue(t, named("127.0.0.1")), "127.0.0.1", "", nil},
		{"another name", ca.issue(t, named("carol.example", "127.0.0.1")), "bob.example",
			"the certificate of bob.example is for carol.example, 127.0.0.1; call it by that name, or give it a certificate for bob.example", new(x509.HostnameError)},
		{"a name, called by address", ca.issue(t, named("bob.example")), "", "the certificate of 127.0.0.1 is for bob.example; call it by that name", new(x509.HostnameError)},
		{"many names", ca.issue(t, named("a", "b", "c", "d", "e")), "bob.example", "is for a, b, c, d, others;", new(x509.HostnameError)},
		{"a common name", ca.issue(t, func(c *x509.Certificate) { c.Subject.CommonName = "bob.example" }), "bob.example",
			"the certificate of bob.example has no name in its subject alternative names", new(x509.HostnameError)},
		{"expired", ca.issue(t, func(c *x509.Certificate) {
			named("bob.example")(c)
			c.NotBefore, c.NotAfter = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2020, 2, 1, 12, 0, 0, 0, time.UTC)
		}), "bob.example", "the certificate of bob.example has expired on 1 February 2020 12:00 UTC; whoever runs it must renew it", new(x509.CertificateInvalidError)},
		{"of the future", ca.issue(t, func(c *x509.Certificate) {
			named("bob.example")(c)
			c.NotBefore, c.NotAfter = time.Now().Add(24*time.Hour), time.Now().Add(48*time.Hour)
		}), "bob.example", "clocks", new(x509.CertificateInvalidError)},
		{"for clients", ca.issue(t, func(c *x509.Certificate) {
			named("bob.example")(c)
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		}), "bob.example", "TLS server authentication", new(x509.CertificateInvalidError)},
		{"another authority", other.issue(t, named("bob.example")), "bob.example",
			`the certificate of bob.example is signed by CN=other?authority, which is not trusted here; add that authority's certificate`, new(x509.UnknownAuthorityError)},
		{"by itself", none.issue(t, named("bob.example")), "bob.example", "the certificate of bob.example is signed by itself (CN=a peer)", new(x509.UnknownAuthorityError)},
	} {
		t.Run(tt.what, func(t *testing.T) {
			t.Parallel()
			_, peer, _ := tlsStack(t, func(in *Incoming) { in.Reply(486, "") }, ca.with(tt.cert))
			err := refusal(t, s, l.FlowTo(peer.Local(), tt.name))
			if tt.want == "" {
				if err != nil {
					t.Errorf("failed: %v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || !errors.Is(err, ErrTransport) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%v\nwant %s", err, tt.want)
			}
			if !errors.As(err, tt.as) {
				t.Errorf("not a %T: %v", tt.as, err)
			}
		})
	}
}

// A Contact that names another address moves nothing while the connection
// stands; then it is dialled, and must prove the name that was called.
func TestTLSDialogStaysOnItsConnection(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "test authority")
	for _, tt := range []struct {
		name string // of who is at the Contact
		good bool
	}{{"bob.example", true}, {"mallory.example", false}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, l, _ := tlsStack(t, nil, ca.with(ca.issue(t, named("alice.example"))))
			addr, accept, _ := accepting(t)
			contact, acceptContact, moved := accepting(t)
			u := newUser()
			u.dialTo(t, s, l.FlowTo(addr, "bob.example"))
			serve := func(c *tcpPeer, name string) *tcpPeer {
				return &tcpPeer{t: t, Conn: tls.Server(c, &tls.Config{Certificates: []tls.Certificate{*ca.issue(t, named(name))}})}
			}
			p := serve(accept(), "bob.example")
			res := NewResponse(p.next("INVITE"), 200, "", "b")
			res.Add("Contact", "<sip:bob@"+contact.String()+";transport=tls>")
			p.write(string(res.Bytes()))
			p.next("ACK")
			over := make(chan error, 1)
			info := func() {
				u.do(func() { u.dialog.Do("INFO", "", nil, func(_ *Message, err error) { over <- err }) })
			}
			info()
			p.write(string(NewResponse(p.next("INFO"), 200, "", "b").Bytes()))
			if err := <-over; err != nil || len(moved) != 0 {
				t.Fatalf("%v; %d connections to the Contact", err, len(moved))
			}
			p.Close()
			for deadline := time.Now().Add(10 * time.Second); connections(l) > 0; time.Sleep(time.Millisecond) { // no event says so
				if time.Now().After(deadline) {
					t.Fatal("the connection's end went unnoticed")
				}
			}
			info()
			p = serve(acceptContact(), tt.name)
			if tt.good {
				p.write(string(NewResponse(p.next("INFO"), 200, "", "b").Bytes()))
			} else {
				go p.Read(make([]byte, 1)) // shakes hands
			}
			if err := <-over; (err == nil) != tt.good || !tt.good && !strings.Contains(err.Error(), "is for mallory.example") {
				t.Errorf("%v", err)
			}
		})
	}
}

// What is no TLS, or not enough of it.
func TestTLSPeersOfAnotherKind(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "test authority")
	cert := ca.issue(t, named("bob.example"))
	s, l, _ := tlsStack(t, nil, ca.with(cert))
	for _, tt := range []struct {
		what  string
		serve func(net.Conn)
		want  string
	}{
		{"old TLS", func(c net.Conn) {
			tls.Server(c, &tls.Config{Certificates: []tls.Certificate{*cert}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}).Handshake()
		}, "speaks no TLS 1.2 or later"},
		{"plain SIP", func(c net.Conn) { c.Write([]byte("SIP/2.0 400 Bad Request\r\n\r\n")) }, "does not speak TLS at 127.0.0.1:"},
		{"nobody", func(c net.Conn) { c.Read(make([]byte, 10_000)) }, "closed the connection in the TLS handshake"},
		{"no certificate", func(c net.Conn) {
			tls.Server(c, &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("none") }}).Handshake()
		}, `refused the TLS handshake and says "internal error"`},
	} {
		t.Run(tt.what, func(t *testing.T) {
			t.Parallel()
			addr, accept, _ := accepting(t)
			go func() {
				c := accept()
				tt.serve(c)
				c.Close()
			}()
			err := refusal(t, s, l.FlowTo(addr, "bob.example"))
			if !errors.Is(err, ErrTransport) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v\nwant %s", err, tt.want)
			}
		})
	}
}

// One address with two names gets two connections, and the proof of one is none
// for the other.
func TestTLSNamesAreKeptApart(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "test authority")
	_, peer, accepted := tlsStack(t, func(in *Incoming) { in.Reply(486, "") }, ca.with(ca.issue(t, named("bob.example", "carol.example"))))
	s, l, _ := tlsStack(t, nil, ca.with(ca.issue(t, named("alice.example"))))
	for _, tt := range []struct {
		name string
		good bool
		want int32 // connections
	}{{"bob.example", true, 1}, {"mallory.example", false, 2}, {"bob.example", true, 2}, {"carol.example", true, 3}, {"", false, 4}} {
		if err := refusal(t, s, l.FlowTo(peer.Local(), tt.name)); (err == nil) != tt.good {
			t.Errorf("%q: %v", tt.name, err)
		}
		if n := accepted.n.Load(); n != tt.want {
			t.Errorf("%q: %d connections, want %d", tt.name, n, tt.want)
		}
	}
	if a, b := l.FlowTo(peer.Local(), "Bob.Example."), l.FlowTo(peer.Local(), "bob.example"); a != b {
		t.Error("flows of one path differ")
	}
	if f := l.FlowTo(netip.AddrPortFrom(peer.Local().Addr(), 0), ""); f.Remote().Port() != 5061 {
		t.Errorf("port %d", f.Remote().Port())
	}
}

func TestTLSClientCertificates(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t, "test authority"), newAuthority(t, "other authority")
	shown := map[string]*tls.Certificate{"none": nil, "good": ca.issue(t, named("alice.example")), "of another authority": other.issue(t, named("alice.example")),
		"expired": ca.issue(t, func(c *x509.Certificate) {
			named("alice.example")(c)
			c.NotBefore, c.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour)
		})}
	for _, tt := range []struct {
		asked, required bool
		shown, want     string // a part of the error; "": none
		seen            bool
	}{
		{false, false, "good", "", false},
		{true, false, "none", "", false},
		{true, false, "good", "", true},
		{true, false, "of another authority", "does not accept our certificate", false},
		{true, true, "none", "asks for a client certificate", false},
		{true, true, "good", "", true},
		{true, true, "expired", "does not accept our certificate", false},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(fmt.Sprint(tt.asked, " ", tt.required)+" "+tt.shown+" "+tls.VersionName(version), func(t *testing.T) {
				t.Parallel()
				o := ca.with(ca.issue(t, named("bob.example")))
				o.RequireClientCert = tt.required
				if tt.asked {
					o.ClientCAs = ca.pool
				}
				_, peer, _ := tlsStack(t, func(in *Incoming) {
					c := in.Flow.PeerCertificate()
					if (c != nil) != tt.seen || tt.seen && c.DNSNames[0] != "alice.example" {
						t.Errorf("the handler sees %v", c)
					}
					in.Reply(486, "")
				}, o)
				o = ca.with(ca.issue(t, named("alice.example")))
				if c := shown[tt.shown]; c != nil {
					o.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c, nil }
				}
				s, l, _ := tlsStack(t, nil, o)
				l.bound.Load().streams.secure.calling.MaxVersion = version
				err := refusal(t, s, l.FlowTo(peer.Local(), "bob.example"))
				switch {
				case tt.want == "" && err != nil:
					t.Errorf("failed: %v", err)
				case tt.want == "":
				case version == tls.VersionTLS12 && tt.required && tt.shown == "none": // which has no word for it
					if !errors.Is(err, ErrTransport) || !strings.Contains(err.Error(), "bob.example") {
						t.Errorf("%v", err)
					}
				case !errors.Is(err, ErrTransport) || !strings.Contains(err.Error(), tt.want):
					t.Errorf("%v\nwant %s", err, tt.want)
				}
			})
		}
	}
}

func TestTLSOptionErrors(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "test authority")
	s := NewStack(Options{Log: quietLog})
	defer s.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	packet := listenUDP(t)
	defer packet.Close()
	required := ca.with(ca.issue(t, named("a")))
	required.RequireClientCert = true
	for what, o := range map[string]ListenerOptions{
		"no certificate":         {Stream: ln, TLS: &TLSOptions{}},
		"no client authority":    {Stream: ln, TLS: required},
		"TLS on a packet socket": {Packet: packet, TLS: ca.with(ca.issue(t, named("a")))},
	} {
		if _, err := s.Listen(o); err == nil {
			t.Errorf("%s was taken", what)
		}
	}
}

// A renewed certificate serves the next connection; the old connection goes on.
func TestTLSCertificateIsRenewed(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "test authority")
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	save(t, ca.issue(t, named("old.example")), certFile, keyFile, time.Unix(1, 0))
	pair, err := certs.Open(certFile, keyFile, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	_, peer, accepted := tlsStack(t, func(in *Incoming) { in.Reply(486, "") }, &TLSOptions{GetCertificate: pair.GetCertificate})
	s, l, _ := tlsStack(t, nil, ca.with(ca.issue(t, named("alice.example"))))
	if err := refusal(t, s, l.FlowTo(peer.Local(), "old.example")); err != nil {
		t.Fatal(err)
	}
	save(t, ca.issue(t, named("new.example")), certFile, keyFile, time.Unix(2, 0))
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) { // the files are looked at each second
		err := refusal(t, s, l.FlowTo(peer.Local(), "new.example"))
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	were := accepted.n.Load()
	if err := refusal(t, s, l.FlowTo(peer.Local(), "old.example")); err != nil || accepted.n.Load() != were {
		t.Errorf("the old connection: %v", err)
	}
}

// A response whose connection has ended is not sent to whoever listens there: that
// has to be for its address, or for the name that the other has shown.
func TestTLSResponseBehindAClosedConnection(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "test authority")
	for _, tt := range []struct {
		name  string
		shown string // in the certificate of the client; "": none
		want  []string
	}{
		{"127.0.0.1", "", []string{"486 INVITE"}},
		{"alice.example", "", nil},
		{"alice.example", "alice.example", []string{"486 INVITE"}},
		{"mallory.example", "alice.example", nil},
	} {
		t.Run(tt.name+" of "+tt.shown, func(t *testing.T) {
			t.Parallel()
			u := newUser()
			rings := make(chan struct{})
			o := ca.with(ca.issue(t, named("bob.example")))
			o.ClientCAs = ca.pool
			_, l, _ := tlsStack(t, u.taking(func() { close(rings) }), o)
			addr, accept, _ := accepting(t)
			client := &tls.Config{RootCAs: ca.pool, ServerName: "bob.example"}
			if tt.shown != "" {
				client.Certificates = []tls.Certificate{*ca.issue(t, named(tt.shown))}
			}
			conn, err := tls.Dial("tcp", l.Local().String(), client)
			if err != nil {
				t.Fatal(err)
			}
			p := &tcpPeer{t: t, Conn: conn}
			p.write(string(p.request("INVITE", "Via", "SIP/2.0/TLS "+addr.String()+";branch=z9hG4bK1").Bytes()))
			<-rings
			p.next("100 INVITE")
			p.Close()
			for deadline := time.Now().Add(10 * time.Second); connections(l) > 0; time.Sleep(time.Millisecond) { // no event says so
				if time.Now().After(deadline) {
					t.Fatal("the connection's end went unnoticed")
				}
			}
			u.do(func() { u.dialog.Refuse(486, "") })
			back := tls.Server(accept(), &tls.Config{Certificates: []tls.Certificate{*ca.issue(t, named(tt.name))}})
			defer back.Close()
			var got []string
			var frames framer
			b := make([]byte, 4096)
			back.SetReadDeadline(time.Now().Add(10 * time.Second))
			for len(got) < len(tt.want) || tt.want == nil {
				n, err := back.Read(b)
				if err != nil {
					break
				}
				frames.write(b[:n])
				if m, _ := frames.next(); m != nil {
					got = append(got, what(m.Bytes()))
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
