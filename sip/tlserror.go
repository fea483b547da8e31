package sip

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"
)

// tlsError is a failed handshake in one sentence that says what to do.
type tlsError struct {
	text string
	err  error
}

func (e *tlsError) Error() string { return e.text }
func (e *tlsError) Unwrap() error { return e.err }

// explainTLS says why the handshake with a peer that was called as name has
// failed.
func explainTLS(name string, remote netip.AddrPort, err error) error {
	if name == "" {
		name = remote.Addr().String()
	}
	return &tlsError{tlsSentence(name, remote, err), err}
}

func tlsSentence(name string, remote netip.AddrPort, err error) string {
	var (
		invalid   x509.CertificateInvalidError
		host      x509.HostnameError
		authority x509.UnknownAuthorityError
		roots     x509.SystemRootsError
		record    tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &host):
		return wrongName(name, host.Certificate)
	case errors.As(err, &invalid):
		return invalidCertificate(name, invalid)
	case errors.As(err, &authority):
		return unknownAuthority(name, authority)
	case errors.As(err, &roots):
		return fmt.Sprintf("the certificate of %s cannot be checked, as this system has no trusted authorities; name a file with the one that signed it", name)
	case errors.As(err, &record):
		return fmt.Sprintf("%s does not speak TLS at %v; use its TLS port, usually 5061, or another transport", name, remote)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Sprintf("%s did not finish the TLS handshake at %v within %v; see whether it speaks TLS there", name, remote, streamTimeout)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Sprintf("%s closed the connection in the TLS handshake; see whether it speaks TLS at %v, and its log", name, remote)
	}
	switch alert := remoteAlert(err); {
	case alert == "":
		return fmt.Sprintf("TLS with %s failed: %v", name, err)
	case strings.Contains(alert, "certificate required"):
		return fmt.Sprintf("%s asks for a client certificate, and none was shown that it takes; set one that its authority has signed", name)
	case strings.Contains(alert, "certificate"):
		return fmt.Sprintf("%s does not accept our certificate (it says %q); see that its authority is known there, and its dates", name, alert)
	case strings.Contains(alert, "protocol version"):
		return fmt.Sprintf("%s speaks no TLS 1.2 or later; it must be updated", name)
	default:
		return fmt.Sprintf("%s refused the TLS handshake and says %q; see its log", name, alert)
	}
}

// remoteAlert returns the alert with which the peer ended TLS, or "". Its type
// is not exported.
func remoteAlert(err error) string {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		return ""
	}
	return strings.TrimPrefix(op.Err.Error(), "tls: ")
}

// maxNames bounds the names of a certificate that an error tells.
const maxNames = 4

func wrongName(name string, c *x509.Certificate) string {
	names := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return fmt.Sprintf("the certificate of %s has no name in its subject alternative names, where alone names count; it needs one that is issued for %s", name, name)
	}
	if len(names) > maxNames {
		names = append(names[:maxNames], "others")
	}
	for i, n := range names {
		names[i] = shown(n)
	}
	return fmt.Sprintf("the certificate of %s is for %s; call it by that name, or give it a certificate for %s", name, strings.Join(names, ", "), name)
}

func invalidCertificate(name string, e x509.CertificateInvalidError) string {
	switch {
	case e.Reason == x509.Expired && e.Cert != nil && time.Now().Before(e.Cert.NotBefore):
		return fmt.Sprintf("the certificate of %s is valid only from %s on; see whether the clocks of both sides are right", name, moment(e.Cert.NotBefore))
	case e.Reason == x509.Expired && e.Cert != nil:
		return fmt.Sprintf("the certificate of %s has expired on %s; whoever runs it must renew it", name, moment(e.Cert.NotAfter))
	case e.Reason == x509.IncompatibleUsage:
		return fmt.Sprintf("the certificate of %s is not made for this use; it needs one whose extended key usage is TLS server authentication", name)
	}
	return fmt.Sprintf("the certificate of %s is not valid (%v); it needs a new one", name, e)
}

func unknownAuthority(name string, e x509.UnknownAuthorityError) string {
	if e.Cert != nil && string(e.Cert.RawIssuer) == string(e.Cert.RawSubject) {
		return fmt.Sprintf("the certificate of %s is signed by itself (%s); add it to the trusted authorities here if you know it is right", name, shown(e.Cert.Subject.String()))
	}
	issuer := "an authority"
	if e.Cert != nil {
		issuer = shown(e.Cert.Issuer.String())
	}
	return fmt.Sprintf("the certificate of %s is signed by %s, which is not trusted here; add that authority's certificate to the trusted ones, or see that the peer sends its whole chain", name, issuer)
}

func moment(t time.Time) string { return t.UTC().Format("2 January 2006 15:04 UTC") }

// shown makes what a stranger wrote into a certificate fit for a log.
func shown(s string) string {
	if len(s) > 100 {
		s = s[:100] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\ufffd' {
			return '?'
		}
		return r
	}, s)
}
