package main

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/configs"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/test/gnupg"
)

// firm is one of two companies with the ready-made file of configs/b2b.yaml.
type firm struct {
	t           *testing.T
	dir, domain string
	outside     netip.AddrPort
	phone       *phone
	public      []byte
	gnupg       *gnupg.Home // nil: the keys are in files
	changes     []string    // of the file, old and new in turn
}

func freeUDP(t *testing.T, addr string) netip.AddrPort {
	t.Helper()
	c, err := net.ListenPacket("udp", addr+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return netip.MustParseAddrPort(c.LocalAddr().String())
}

func newFirm(t *testing.T, domain, user, outside string) *firm {
	t.Helper()
	f := &firm{t: t, dir: t.TempDir(), domain: domain, outside: freeUDP(t, outside), phone: newPhone(t, false)}
	cfg := &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, Curve: packet.Curve25519, Time: func() time.Time { return time.Now().Add(-time.Minute) }}
	e, err := openpgp.NewEntity("", "", user+"@"+domain, cfg)
	if err != nil {
		t.Fatal(err)
	}
	var secret, public bytes.Buffer
	if err := e.SerializePrivate(&secret, cfg); err != nil {
		t.Fatal(err)
	}
	if err := e.Serialize(&public); err != nil {
		t.Fatal(err)
	}
	f.public = public.Bytes()
	f.write("a-secret.pgp", secret.Bytes())
	return f
}

func (f *firm) write(name string, b []byte) {
	f.t.Helper()
	path := filepath.Join(f.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// inGnuPG has the keys of a firm stay with GnuPG, in a folder of its own, with a
// passphrase that its agent knows.
func (f *firm) inGnuPG(user string) (fingerprint string) {
	f.t.Helper()
	f.gnupg = gnupg.New(f.t)
	fingerprint = f.gnupg.Lock(passphrase, user+"@"+f.domain, "ed25519", "sign", "never")
	f.public = f.gnupg.Export(fingerprint)
	f.unlock()
	f.changes = []string{"key_file: a-secret.pgp", "gnupg: " + fingerprint + ", home: " + f.gnupg.Dir, "files: partners", "gnupg: true\n  home: " + f.gnupg.Dir}
	return fingerprint
}

const passphrase = "secret words"

// unlock tells the agent the passphrase, as somebody does at the start of the day.
func (f *firm) unlock() {
	f.gnupg.Run([]byte("x"), "--passphrase", passphrase, "--detach-sign", "--output", "-")
}

// start runs the file with nothing changed but what it says is to be.
func (f *firm) start(other *firm) *daemon {
	f.t.Helper()
	text, err := os.ReadFile("../../configs/b2b.yaml")
	if err != nil {
		f.t.Fatal(err)
	}
	swap := strings.NewReplacer(
		"a.example", f.domain, "sipward.b.example;transport=tcp", other.outside.String()+";transport=udp", "b.example", other.domain,
		"address: 127.0.0.1:5062", "address: 127.0.0.1:0", "auto:5060", f.outside.String(), "127.0.0.1:5070", f.phone.Addr().String(),
		"127.0.0.1:5080", "127.0.0.1:0", "198.51.100.0/24", other.outside.Addr().String()+"/32",
		"20000-29999", fmt.Sprintf("%d-%d", 20000, 29999))
	f.write("b2b.yaml", []byte(strings.NewReplacer(f.changes...).Replace(swap.Replace(string(text)))+"state: state\n"))
	cfg, err := configs.Load(filepath.Join(f.dir, "b2b.yaml"))
	if err != nil {
		f.t.Fatal(err)
	}
	if problems, warnings := checkFiles(cfg, time.Now()); len(problems)+len(warnings) > 0 {
		f.t.Error(problems, warnings)
	}
	return start(f.t, cfg)
}

// The ready-made file for two companies, with sockets and files: calls take place
// that both have signed, and no others.
func TestTwoCompanies(t *testing.T) {
	a, b := newFirm(t, "a.example", "alice", "127.0.0.2"), newFirm(t, "b.example", "bob", "127.0.0.3")
	a.write("partners/b.pgp", b.public)
	b.write("partners/a.pgp", a.public)
	da, db := a.start(b), b.start(a)
	ea, cancelA := da.proxy.Subscribe(100)
	defer cancelA()
	eb, cancelB := db.proxy.Subscribe(100)
	defer cancelB()
	if err := a.phone.call(at(t, da, policy.Inside, "udp"), "sip:bob@b.example"); err != nil {
		t.Fatal(err)
	}
	for who, events := range map[string]<-chan b2bua.Event{"sip:bob@b.example": ea, "sip:alice@a.example": eb} {
		if v := secured(t, events); v.Trust != "verified" || v.Identity != who || v.KeyType != "openpgp" {
			t.Errorf("%+v", v)
		}
	}
	if err := os.Remove(filepath.Join(b.dir, "partners", "a.pgp")); err != nil {
		t.Fatal(err)
	}
	var err error
	for began := time.Now(); err == nil && time.Since(began) < patience; time.Sleep(200 * time.Millisecond) { // files are looked at every two seconds
		err = newPhone(t, false).call(at(t, da, policy.Inside, "udp"), "sip:bob@b.example")
	}
	if err == nil || !strings.Contains(err.Error(), "488 This call must be signed, and no key that counts is known of sip:alice@a.example") {
		t.Errorf("a key that was taken out: %v", err)
	}
}

// The same with the keys in GnuPG: it signs, and whom it trusts it says itself. A
// passphrase that its agent has forgotten ends the calls, and hangs none.
func TestTwoCompaniesWithGnuPG(t *testing.T) {
	a, b := newFirm(t, "a.example", "alice", "127.0.0.4"), newFirm(t, "b.example", "bob", "127.0.0.5")
	keyA, keyB := a.inGnuPG("alice"), b.inGnuPG("bob")
	for _, f := range []struct {
		of, other *firm
		key       string
	}{{a, b, keyB}, {b, a, keyA}} {
		f.of.gnupg.Import(f.other.public)
		f.of.gnupg.Trust(f.key, gnupg.Ultimate)
	}
	da, db := a.start(b), b.start(a)
	ea, cancelA := da.proxy.Subscribe(100)
	defer cancelA()
	eb, cancelB := db.proxy.Subscribe(100)
	defer cancelB()
	verified := func() {
		t.Helper()
		// gpg has two seconds; on a machine with far too much to do that may not be enough.
		for began := time.Now(); ; {
			err := newPhone(t, false).call(at(t, da, policy.Inside, "udp"), "sip:bob@b.example")
			va, vb := trusted(ea, "verified"), trusted(eb, "verified")
			if err == nil && va != nil && vb != nil {
				if va.Key != keyB || vb.Key != keyA || va.KeyType != "openpgp" || va.Protection != "srtp" {
					t.Errorf("%+v\n%+v", va, vb)
				}
				return
			}
			if time.Since(began) > patience {
				t.Fatalf("no call is verified: %v", err)
			}
		}
	}
	verified()
	for to, says := range map[string]string{"bob": "a key of the keyring can prove sip:bob@b.example", "carol": "no key of the keyring is for sip:carol@b.example"} {
		var out, complaint bytes.Buffer
		if status := execute([]string{"explain", "--from", "alice@a.example", "--to", to + "@b.example", "--config", filepath.Join(a.dir, "b2b.yaml")}, &out, &complaint); status != 0 ||
			!strings.Contains(out.String(), says) || strings.Contains(out.String(), "refused before it rings") != (to == "carol") {
			t.Errorf("explain, status %d:\n%s%s", status, out.String(), complaint.String())
		}
	}

	a.gnupg.Forget()
	var second *phone
	var began time.Time
	for first := time.Now(); ; {
		began, second = time.Now(), newPhone(t, false)
		err := second.call(at(t, da, policy.Inside, "udp"), "sip:bob@b.example")
		if err == nil {
			break
		}
		if time.Since(first) > patience { // as above: the other company's gpg
			t.Fatal(err)
		}
	}
	if _, err := second.ended(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("without the passphrase the call took %v to end", took)
	}
	// The identity key that signs beside it was vouched for in the call before.
	v := trusted(eb, "pinned")
	for v == nil && len(eb) > 0 { // those that were refused
		v = trusted(eb, "pinned")
	}
	if v == nil || v.Protection != "failed" || !strings.Contains(v.Reason, "This call must be signed with a key that was checked, and it is not") {
		t.Errorf("%+v", v)
	}

	a.unlock()
	verified()
}

// trusted waits until a call has a word and is confirmed, or has ended with it; nil
// where it ends otherwise.
func trusted(events <-chan b2bua.Event, word string) *b2bua.View {
	for limit := time.After(patience); ; {
		select {
		case e := <-events:
			if e.Type == "call-ended" || e.Call.Trust == word && e.Call.Protection == "srtp" {
				if e.Call.Trust != word {
					return nil
				}
				return &e.Call
			}
		case <-limit:
			return nil
		}
	}
}
