package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"
)

// A listener with tls in the configuration shows the configured certificate.
func TestListenerWithTLS(t *testing.T) {
	t.Parallel()
	now := time.Now()
	cert, key := certificate(t, now.Add(-time.Hour), now.AddDate(1, 0, 0))
	cfg := parse(t, fmt.Sprintf("listeners:\n  - {name: a, side: inside, address: \"127.0.0.1:0\", transports: [udp, tls], tls: {certificate: %q, key: %q}}\napi: {listen: off}\nstate: off\n", cert, key))
	d, err := assemble(cfg, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	pem, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(pem)
	for _, s := range d.sockets {
		if s.network != "tls" {
			continue
		}
		conn, err := tls.Dial("tcp", s.addr.String(), &tls.Config{InsecureSkipVerify: true, VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
			leaf, err := x509.ParseCertificate(raw[0])
			if err != nil {
				return err
			}
			_, err = leaf.Verify(x509.VerifyOptions{Roots: trusted, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
			return err
		}})
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		return
	}
	t.Error("no socket for tls")
}
