package sip

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"
)

const (
	handshakeTimeout = 10 * time.Second // for the handshake of an inbound connection; a dial has streamTimeout for all of it
	maxHandshakes    = 256              // inbound handshakes of one listener at a time
	farewellTimeout  = time.Second      // for the alert that closes a connection
	maxHostName      = 253              // octets of a DNS name (RFC 1035 section 2.3.4)
)

// TLSOptions make a stream listener one of SIP over TLS (RFC 3261 section
// 26.2.1), version 1.2 or later. Sessions are not resumed, so that each
// connection proves anew who it is.
type TLSOptions struct {
	// GetCertificate returns the own certificate, at each handshake; that of
	// certs.Pair follows files.
	GetCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// GetClientCertificate returns what a called peer gets where it asks for a
	// certificate; nil: none.
	GetClientCertificate func(*tls.CertificateRequestInfo) (*tls.Certificate, error)
	// RootCAs may sign the certificates of peers that are called; nil: those
	// that the system trusts. Verification cannot be turned off.
	RootCAs *x509.CertPool
	// ClientCAs may sign the certificates of peers that call; nil: they are asked
	// for none.
	ClientCAs *x509.CertPool
	// RequireClientCert refuses who calls without a certificate of ClientCAs; one
	// that is shown must be good in any case.
	RequireClientCert bool
}

func (o *TLSOptions) check() error {
	switch {
	case o.GetCertificate == nil:
		return errors.New("TLS needs a certificate")
	case o.RequireClientCert && o.ClientCAs == nil:
		return errors.New("client certificates are required, but no authority for them is named")
	}
	return nil
}

// secure makes the TLS end of a connection.
type secure struct {
	calling *tls.Config
	serving *tls.Config
}

func newSecure(o *TLSOptions) *secure {
	s := &secure{
		calling: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.RootCAs, GetClientCertificate: o.GetClientCertificate},
		serving: &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: o.GetCertificate, SessionTicketsDisabled: true},
	}
	if o.ClientCAs != nil {
		s.serving.ClientCAs, s.serving.ClientAuth = o.ClientCAs, tls.VerifyClientCertIfGiven
	}
	if o.RequireClientCert {
		s.serving.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return s
}

func (s *secure) server(conn net.Conn) net.Conn { return tls.Server(conn, s.serving) }

// call shakes hands on a connection that was dialled. It owns conn.
func (s *secure) call(ctx context.Context, conn net.Conn, name string, remote netip.AddrPort) (net.Conn, error) {
	if name == "" {
		name = remote.Addr().WithZone("").String()
	}
	cfg := s.calling.Clone()
	cfg.ServerName = name
	t := tls.Client(conn, cfg)
	if err := t.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, explainTLS(name, remote, err)
	}
	return t, nil
}

// peerName is the form in which a name goes into a handshake and is compared.
func peerName(s string) string { return strings.ToLower(strings.TrimSuffix(s, ".")) }

// shakeHands serves an inbound connection, beginning with its handshake.
func (c *streamConn) shakeHands(conn *tls.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	err := conn.HandshakeContext(ctx)
	cancel()
	c.s.mu.Lock()
	delete(c.s.shaking, c)
	c.s.mu.Unlock()
	if err != nil {
		c.s.l.stack.log.Debug("TLS handshake failed", "listener", c.s.l.Name, "peer", c.remote, "error", err)
		c.close()
		c.s.wg.Add(-2) // there will be no writer and no reader
		return
	}
	if chains := conn.ConnectionState().VerifiedChains; len(chains) > 0 {
		c.client = chains[0][0]
	}
	go c.write()
	c.read(conn, true)
}

// limitHandshakes closes the oldest of too many handshakes: an honest one is
// over in a moment, and those who only begin handshakes lock out each other.
func (s *streams) limitHandshakes() {
	s.mu.Lock()
	if len(s.shaking) < maxHandshakes {
		s.mu.Unlock()
		return
	}
	var oldest *streamConn
	for c := range s.shaking {
		if oldest == nil || c.heard.Load() < oldest.heard.Load() {
			oldest = c
		}
	}
	s.mu.Unlock()
	oldest.close()
}

// lost notes why reading has ended, where the peer says so.
func (c *streamConn) lost(err error) {
	if remoteAlert(err) != "" {
		c.end(explainTLS(c.name, c.remote, err))
	}
}

// shut closes a connection; the farewell of TLS holds up nobody. The caller is
// counted in wg.
func (s *streams) shut(conn net.Conn) {
	t, ok := conn.(*tls.Conn)
	if !ok {
		conn.Close()
		return
	}
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		impatience := time.AfterFunc(farewellTimeout, func() { t.NetConn().Close() })
		t.Close()
		impatience.Stop()
	}()
}

// PeerCertificate returns the certificate that the client of an inbound TLS
// connection has shown and that was verified; nil where there is none.
func (f Flow) PeerCertificate() *x509.Certificate {
	if f.conn == nil {
		return nil
	}
	return f.conn.client
}

// ProvedName names whom the client of an inbound connection has proved to be, so that
// it is asked for the same where it has to be called: host, where its certificate is
// for that too, else the first host name in it. Empty where it has proved none: then
// a certificate for its address is asked for. Whom a called peer has proved to be is
// [Flow.Name].
func (f Flow) ProvedName(host string) string {
	c := f.PeerCertificate()
	if c == nil {
		return ""
	}
	if c.VerifyHostname(host) == nil && net.ParseIP(host) == nil {
		return peerName(host)
	}
	for _, n := range c.DNSNames {
		if n != "" && len(n) <= maxHostName && isHostText(n) { // no wildcard, and fit for a log
			return peerName(n)
		}
	}
	return ""
}
