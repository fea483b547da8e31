package sip

import (
	"crypto/tls"
	"strings"
	"testing"
)

// The connection of a call that came in has ended: its caller is called, and must
// prove the name that it has shown a certificate for, or its address where it has shown
// none for a name.
func TestTLSCallerIsCalledBack(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "test authority")
	for _, tt := range []struct {
		name   string
		shown  []string // in the certificate of who calls, as a client; none: it shows none
		serves string   // is the one that it has as a server
		good   bool
	}{
		{"the name in From", []string{"pbx.example", "alice.example"}, "alice.example", true},
		{"another one", []string{"*.pbx.example", "pbx.example"}, "pbx.example", true},
		{"somebody else is there", []string{"alice.example"}, "mallory.example", false},
		{"a wildcard", []string{"*.example"}, "alice.example", true},
		{"no name to go by", []string{"e\nvil\x1b[2J", strings.Repeat("a.", 130) + "example"}, "127.0.0.1", true},
		{"no certificate", nil, "alice.example", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			callee, caller := newUser(), newUser()
			o := ca.with(ca.issue(t, named("bob.example")))
			o.ClientCAs = ca.pool
			_, lb, _ := tlsStack(t, callee.taking(func() { callee.dialog.Answer("", nil) }), o)
			o = ca.with(ca.issue(t, named(tt.serves)))
			if tt.shown != nil {
				client := ca.issue(t, named(tt.shown...))
				o.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return client, nil }
			}
			s, la, _ := tlsStack(t, nil, o)
			acked, over := make(chan struct{}), make(chan error, 1)
			callee.ack = func(*Message, *ServerTx) { close(acked) }
			caller.dialTo(t, s, la.FlowTo(lb.Local(), "bob.example"))
			<-acked
			callee.do(func() { callee.dialog.peer.flow.conn.close() })
			callee.do(func() { callee.dialog.Do("INFO", "", nil, func(_ *Message, err error) { over <- err }) })
			if err := <-over; (err == nil) != tt.good {
				t.Errorf("INFO: %v", err)
			}
		})
	}
}
