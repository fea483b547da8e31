package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// issue returns a certificate for that name, signed by itself, and its key.
func issue(t *testing.T, name string, until time.Time) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: until.Add(-1000 * time.Hour), NotAfter: until, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	kder, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: kder})
}

var ticks atomic.Int64

// write writes a file with a time of its own, however fast the test runs.
func write(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1_000_000_000+ticks.Add(1), 0)
	if err := os.Chtimes(name, at, at); err != nil {
		t.Fatal(err)
	}
}

func TestFollowsTheFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	synctest.Test(t, func(t *testing.T) { // in whose time certificates are read
		later := time.Now().Add(100 * time.Hour)
		cert1, key1 := issue(t, "first.example", later)
		write(t, certFile, cert1)
		write(t, keyFile, key1)
		var reports []string
		p, err := Open(certFile, keyFile, func(err error) { reports = append(reports, err.Error()) })
		if err != nil {
			t.Fatal(err)
		}
		want := func(step, name string, wantReports int, words string) {
			t.Helper()
			c, err := p.GetCertificate(nil)
			if err != nil || c.Leaf.DNSNames[0] != name {
				t.Fatalf("%s: %v, %v", step, c.Leaf.DNSNames, err)
			}
			if len(reports) != wantReports || !strings.Contains(strings.Join(reports, "\n"), words) {
				t.Fatalf("%s: reports %q", step, reports)
			}
		}
		want("at first", "first.example", 0, "")

		// A renewal in two steps: the certificate, a while later its key.
		cert2, key2 := issue(t, "second.example", later)
		write(t, certFile, cert2)
		want("within the second", "first.example", 0, "")
		time.Sleep(interval)
		want("without the key", "first.example", 1, certFile)
		time.Sleep(interval)
		want("told once", "first.example", 1, "")
		write(t, keyFile, key2)
		time.Sleep(interval)
		want("with the key", "second.example", 1, "")

		// What cannot be used, one after the other.
		os.Remove(keyFile)
		time.Sleep(interval)
		want("removed", "second.example", 2, "no such file")
		time.Sleep(interval)
		want("still removed", "second.example", 2, "")
		write(t, keyFile, key2)
		time.Sleep(interval)
		want("back", "second.example", 2, "")
		write(t, certFile, []byte("rubbish"))
		time.Sleep(interval)
		want("rubbish", "second.example", 3, "PEM")
		old, oldKey := issue(t, "old.example", time.Now().Add(-time.Hour))
		write(t, certFile, old)
		write(t, keyFile, oldKey)
		time.Sleep(interval)
		want("expired", "second.example", 4, "expired")

		// The other field of a configuration follows too.
		cert3, key3 := issue(t, "third.example", later)
		write(t, certFile, cert3)
		write(t, keyFile, key3)
		time.Sleep(interval)
		if c, err := p.GetClientCertificate(nil); err != nil || c.Leaf.DNSNames[0] != "third.example" {
			t.Errorf("%v, %v", c.Leaf.DNSNames, err)
		}
		// One that has expired takes the place of another.
		time.Sleep(1000 * time.Hour)
		old, oldKey = issue(t, "older.example", time.Now().Add(-time.Hour))
		write(t, certFile, old)
		write(t, keyFile, oldKey)
		time.Sleep(interval)
		want("both expired", "older.example", 4, "")
	})
}

func TestOpenErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	cert, key := issue(t, "a.example", time.Now().Add(time.Hour))
	_, otherKey := issue(t, "b.example", time.Now().Add(time.Hour))
	write(t, at("cert"), cert)
	write(t, at("key"), key)
	write(t, at("other"), otherKey)
	write(t, at("rubbish"), []byte("rubbish"))
	write(t, at("both"), append(cert, key...))
	for _, tt := range []struct{ cert, key, want string }{
		{"cert", "missing", "missing"},
		{"missing", "key", "missing"},
		{"cert", "other", "does not match"},
		{"rubbish", "key", "rubbish"},
		{"cert", "rubbish", "rubbish"},
		{"key", "cert", "PEM"},
	} {
		if _, err := Open(at(tt.cert), at(tt.key), nil); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s, %s: %v", tt.cert, tt.key, err)
		} else if strings.Contains(err.Error(), string(key[30:60])) {
			t.Errorf("%s, %s: the error holds the key", tt.cert, tt.key)
		}
	}
	if _, err := Open(at("both"), at("both"), nil); err != nil {
		t.Errorf("one file: %v", err)
	}
	if pool, err := Pool(at("cert"), at("both")); err != nil || pool.Equal(x509.NewCertPool()) {
		t.Errorf("%v", err)
	}
	for _, name := range []string{"key", "rubbish", "missing"} {
		if _, err := Pool(at("cert"), at(name)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
