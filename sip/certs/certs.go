// Package certs reads certificates from files and follows the files, so that a
// renewed certificate is used without a restart.
//
// Nobody has to be told of a renewal: the files are looked at when a handshake
// needs the certificate, at most once a second. A renewal that cannot be used,
// such as a certificate whose key is not there yet, is reported, and the old
// certificate stays until the files change to something better.
package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// interval is how long the files are not looked at again.
const interval = time.Second

// Pair is a certificate, with the chain behind it, and its private key. Its
// methods may be called from any goroutine.
type Pair struct {
	certFile, keyFile string
	report            func(error)
	current           atomic.Pointer[tls.Certificate]

	mu      sync.Mutex
	checked time.Time
	tried   [2]stamp // of the files as they were read last, or tried
}

// stamp tells one state of a file from another.
type stamp struct {
	modified time.Time
	size     int64
}

// Open reads a certificate chain and its key from PEM files, which may be one
// file. report is told once of each state of the files that cannot be used,
// from the goroutine of a handshake; nil: it is logged as a warning. An error
// says which file is wrong and how.
func Open(certFile, keyFile string, report func(error)) (*Pair, error) {
	if report == nil {
		report = func(err error) { slog.Warn("certificate not renewed", "error", err) }
	}
	p := &Pair{certFile: certFile, keyFile: keyFile, report: report, checked: time.Now()}
	tried, err := p.stamps()
	if err != nil {
		return nil, err
	}
	c, err := p.load()
	if err != nil {
		return nil, err
	}
	p.tried = tried
	p.current.Store(c)
	return p, nil
}

// Certificate returns the certificate as the files have it now, or the last one
// that could be used.
func (p *Pair) Certificate() *tls.Certificate {
	p.follow()
	return p.current.Load()
}

// GetCertificate is for the field of that name in a TLS configuration.
func (p *Pair) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return p.Certificate(), nil
}

// GetClientCertificate is for the field of that name in a TLS configuration.
func (p *Pair) GetClientCertificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return p.Certificate(), nil
}

// follow reads the files where they have changed. One handshake does it; the
// others go on meanwhile with what there is.
func (p *Pair) follow() {
	if !p.mu.TryLock() {
		return
	}
	defer p.mu.Unlock()
	now := time.Now()
	if now.Sub(p.checked) < interval {
		return
	}
	p.checked = now
	// What changes between this look and the reading is seen at the next look.
	stamps, err := p.stamps()
	if stamps == p.tried {
		return
	}
	p.tried = stamps
	var c *tls.Certificate
	if err == nil {
		c, err = p.load()
	}
	if err == nil && c.Leaf.NotAfter.Before(now) && !p.current.Load().Leaf.NotAfter.Before(now) {
		err = fmt.Errorf("certificate %s: the new one has expired on %s", p.certFile, c.Leaf.NotAfter.UTC().Format(time.DateTime))
	}
	if err != nil {
		p.report(fmt.Errorf("%w; the one before stays in use", err))
		return
	}
	p.current.Store(c)
}

// stamps looks at the files; that of one which is not there is zero.
func (p *Pair) stamps() (out [2]stamp, err error) {
	for i, name := range []string{p.certFile, p.keyFile} {
		info, serr := os.Stat(name)
		if serr != nil {
			err = errors.Join(err, fmt.Errorf("certificate: %w", serr))
			continue
		}
		out[i] = stamp{info.ModTime(), info.Size()}
	}
	return out, err
}

func (p *Pair) load() (*tls.Certificate, error) {
	c, err := tls.LoadX509KeyPair(p.certFile, p.keyFile)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", p.certFile, p.keyFile, err)
	}
	return &c, nil
}

// Pool reads the certificates of authorities from PEM files.
func Pool(files ...string) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("authorities: %w", err)
		}
		if !pool.AppendCertsFromPEM(b) {
			return nil, fmt.Errorf("authorities %s: holds no certificate in PEM form", name)
		}
	}
	return pool, nil
}
