package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// usersFile writes one that only its owner can read.
func usersFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "users.txt")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// certificate writes one that is valid between two times, with its key.
func certificate(t *testing.T, from, to time.Time) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: from, NotAfter: to, DNSNames: []string{"sip.office.example"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, block := range map[string]*pem.Block{"c.pem": {Type: "CERTIFICATE", Bytes: der}, "k.pem": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
}

func TestCheckCertificates(t *testing.T) {
	t.Parallel()
	now := time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		from, to time.Time
		mode     os.FileMode
		want     string
	}{
		"good":     {now.AddDate(0, -1, 0), now.AddDate(0, 2, 0), 0o600, ""},
		"expired":  {now.AddDate(0, -2, 0), now.AddDate(0, -1, 0), 0o600, "f.yaml:2:100: listeners[0].tls.certificate: warning: it is valid from 2027-01-01 to 2027-02-01 only: whoever verifies it will not connect"},
		"early":    {now.AddDate(0, 1, 0), now.AddDate(0, 2, 0), 0o600, "f.yaml:2:100: listeners[0].tls.certificate: warning: it is valid from 2027-04-01 to 2027-05-01 only: whoever verifies it will not connect"},
		"soon":     {now.AddDate(0, -1, 0), now.AddDate(0, 0, 3), 0o600, "f.yaml:2:100: listeners[0].tls.certificate: warning: it expires in 3 days"},
		"readable": {now.AddDate(0, -1, 0), now.AddDate(0, 2, 0), 0o644, "listeners[0].tls.key: warning: every user of this machine can read KEY; chmod 600 closes it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cert, key := certificate(t, tt.from, tt.to)
			if err := os.Chmod(key, tt.mode); err != nil {
				t.Fatal(err)
			}
			cfg := parse(t, fmt.Sprintf("listeners:\n  - {name: a, side: inside, address: \"127.0.0.1:5062\", transports: [udp, tls],  tls: {certificate: %q, key: %q}}\n", cert, key))
			problems, warnings := checkFiles(cfg, now)
			got := strings.ReplaceAll(warnings.Error(), key, "KEY")
			if len(problems) > 0 || !strings.HasSuffix(got, tt.want) || tt.want == "" && got != "" {
				t.Errorf("problems %v, warnings\n%s\nwant\n%s", problems, got, tt.want)
			}
		})
	}
	// The key of another certificate.
	cert, _ := certificate(t, now, now.AddDate(1, 0, 0))
	_, key := certificate(t, now, now.AddDate(1, 0, 0))
	cfg := parse(t, fmt.Sprintf("listeners:\n  - {name: a, side: inside, address: \"127.0.0.1:5062\", transports: [tls], tls: {certificate: %q, key: %q}}\n", cert, key))
	if problems, _ := checkFiles(cfg, now); len(problems) != 1 || !strings.Contains(problems.Error(), "private key does not match") {
		t.Errorf("%v", problems)
	}
}
