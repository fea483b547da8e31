package calls

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/record"
	"github.com/sipward/sipward/sas/attest"
)

// Two companies have exchanged OpenPGP keys, and their systems call each other with
// nobody there who could compare words: require verified.

// unattended makes both companies; change gets what differs from the good case.
func unattended(t *testing.T, change func(u *companies)) *companies {
	t.Helper()
	u := &companies{a: newCompany(t, alice), b: newCompany(t, bob)}
	u.signsA, u.publicA = pgpKey(t, "alice@a.example", false)
	u.signsB, u.publicB = pgpKey(t, "sip:bob@b.example", false)
	change(u)
	if u.publicA != nil {
		u.b.has("alice.pgp", u.publicA)
	}
	if u.publicB != nil {
		u.a.has("bob.pgp", u.publicB)
	}
	return u
}

type companies struct {
	a, b             *company
	signsA, signsB   attest.Signer
	publicA, publicB []byte // what the other one has of them
	as               string // alice's From
	tamper           func(string) string
}

func (u *companies) options(t *testing.T) worldOptions {
	rules := asking(t, policy.Rules{UnknownPeers: policy.Require, UnknownTrust: policy.Verified})
	with := func(domain string, k attest.Signer, c *company) func(*b2bua.Options) {
		var keys []attest.Signer
		if k != nil {
			keys = append(keys, k)
		}
		return all(signing(domain, memory(t), keys), rules, func(o *b2bua.Options) { o.Keyring = c.keyring() })
	}
	return worldOptions{net: memnet.Options{Delay: 10 * time.Millisecond}, optionsA: with("a.example", u.signsA, u.a), optionsB: with("b.example", u.signsB, u.b)}
}

// tapMedia counts what could be media between the houses: anything that is not SIP
// and no probe, which is an empty datagram or an SRTCP packet of a lone receiver
// report. from is whose, or nobody for both.
func (w *world) tapMedia(from ...netip.AddrPort) *atomic.Int64 {
	n := new(atomic.Int64)
	w.net.Tap(func(d memnet.Datagram) {
		if len(from) > 0 && d.From.Addr() != from[0].Addr() {
			return
		}
		if between(d.From, d.To) && !isSIP(d.Payload) && !isProbe(d.Payload) {
			n.Add(1)
		}
	})
	return n
}

func isProbe(b []byte) bool { return len(b) == 0 || len(b) < 40 && b[1] == 201 }

func TestUnattended(t *testing.T) {
	t.Parallel()
	inBubbleOfCompanies(t, func(*companies) {}, func(t *testing.T, u *companies, w *world) {
		media := w.tapMedia()
		w.up()
		if b, a := w.talk(30); b != 30 || a != 30 || media.Load() == 0 {
			t.Errorf("bob heard %d, alice %d of 30", b, a)
		}
		va, vb := w.views()
		if va.Trust != "verified" || vb.Trust != "verified" || va.Identity != bob || vb.Identity != alice || va.KeyType != "openpgp" || vb.Key == "" {
			t.Errorf("%+v\n%+v", va, vb)
		}
	})
}

// Nothing else takes place: refused before it rings where no key is known, and
// ended before any media is heard where what was signed does not do.
func TestUnattendedRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(t *testing.T, u *companies)
		alice  string
		bob    string // "": his phone does not ring
	}{
		"no key of the caller":                           {func(_ *testing.T, u *companies) { u.publicA = nil }, keyless + "alice@a.example", ""},
		"no key of the callee":                           {func(_ *testing.T, u *companies) { u.publicB = nil }, keyless + "bob@b.example", ""},
		"the caller's key is revoked":                    {func(t *testing.T, u *companies) { u.signsA, u.publicA = pgpKey(t, "alice@a.example", true) }, keyless + "alice@a.example", ""},
		"a caller who says to be another":                {func(_ *testing.T, u *companies) { u.as = "sip:carol@a.example" }, keyless + "carol@a.example", ""},
		"an anonymous caller":                            {func(_ *testing.T, u *companies) { u.as = "sip:anonymous@anonymous.invalid" }, "refused 488 This call must be signed, and the other end gives no address", ""},
		"the caller does not sign":                       {func(_ *testing.T, u *companies) { u.signsA = nil }, "bye", unsigned},
		"the callee does not sign":                       {func(_ *testing.T, u *companies) { u.signsB = nil }, "refused 488 " + unsigned, ""},
		"the caller's key hangs":                         {func(_ *testing.T, u *companies) { u.signsA = hangs{} }, "bye", unsigned},
		"the caller signs with another key of that name": {func(t *testing.T, u *companies) { u.signsA, _ = pgpKey(t, "alice@a.example", false) }, "bye", unsigned},
		"the caller signs with a revoked key": {func(t *testing.T, u *companies) {
			signer, public := pgpKey(t, "alice@a.example", true)
			u.signsA = signer
			u.b.has("old.pgp", public)
		}, "bye", unsigned},
		"the caller signs with a colleague's key": {func(t *testing.T, u *companies) {
			signer, public := pgpKey(t, "carol@a.example", false)
			u.signsA = signer
			u.b.has("carol.pgp", public)
		}, "bye", unsigned},
		"the caller signs for a colleague": {func(t *testing.T, u *companies) {
			signer, public := pgpKey(t, "carol@a.example", false)
			u.signsA = signsAs{signer, "sip:carol@a.example"}
			u.b.has("carol.pgp", public)
		}, "bye", unsigned},
		"the caller signs with an ed25519 key alone": {func(t *testing.T, u *companies) { u.signsA = ed25519Key(t, 'a') }, "bye", unsigned},
		"the callee signs with another key":          {func(t *testing.T, u *companies) { u.signsB, _ = pgpKey(t, "bob@b.example", false) }, "refused 488 " + unsigned, ""},
		"the caller's signature is changed on the way": {func(_ *testing.T, u *companies) {
			u.tamper = func(m string) string {
				if strings.HasPrefix(m, "ACK ") {
					return flip(m, "dh-sig")
				}
				return m
			}
		}, "bye", "A signature of the other end is wrong"},
		"the caller's signature is taken out on the way": {func(_ *testing.T, u *companies) {
			u.tamper = func(m string) string {
				if strings.HasPrefix(m, "ACK ") {
					return removeLine(m, "a=dh-sig:")
				}
				return m
			}
		}, "bye", unsigned},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubbleOfCompanies(t, func(u *companies) { c.change(t, u) }, func(t *testing.T, u *companies, w *world) {
				// The caller's phone speaks for as long as its refusal is on the way.
				w.apart(50*time.Millisecond, u.tamper)
				if u.as != "" {
					w.alice.as = u.as
				}
				w.comesToNothing(c.alice, c.bob)
			})
		})
	}
}

const (
	keyless  = "refused 488 This call must be signed, and no key that counts is known of sip:"
	unsigned = `This call must be signed with a key that was checked`
)

// comesToNothing has alice call bob, and ends with what her phone sees. bob is how
// the reason begins that his phone is given, "" where it does not ring. No media
// is heard, none leaves either house, and who calls and who is called are told why.
func (w *world) comesToNothing(alice, bob string) {
	t := w.t
	t.Helper()
	fromA, fromB, heard := w.tapMedia(outsideA), w.tapMedia(outsideB), len(w.alice.heard)+len(w.bob.heard)
	rung := len(w.bob.events)
	var bye atomic.Pointer[string] // the first between the houses
	w.net.Tap(func(d memnet.Datagram) {
		if between(d.From, d.To) && strings.HasPrefix(string(d.Payload), "BYE ") {
			text := string(d.Payload)
			bye.CompareAndSwap(nil, &text)
		}
	})
	events, cancel := w.b.proxy.Subscribe(100)
	defer cancel()
	w.alice.call("sip:bob@b.example")
	go func() {
		for range 100 {
			w.bob.say(1, 0, 0xB2)
			w.alice.say(1, 0, 0xA1)
		}
	}()
	w.alice.await(alice)
	if bob != "" {
		w.bob.await("bye SIP;cause=488;text=\"" + bob)
		if b := bye.Load(); b == nil || !strings.Contains(*b, `Reason: SIP;cause=488;text="`+bob) {
			t.Errorf("no BYE between the houses with a Reason: %v", b)
		}
	}
	time.Sleep(time.Minute)
	if bob == "" && strings.HasPrefix(alice, keyless[:40]) && len(w.bob.events) != rung {
		t.Error("bob's phone has rung")
	}
	if n := len(w.alice.heard) + len(w.bob.heard) - heard; fromA.Load() != 0 || fromB.Load() != 0 || n != 0 {
		t.Errorf("%d and %d packets of media, %d were heard", fromA.Load(), fromB.Load(), n)
	}
	why := ""
	for len(events) > 0 {
		e := <-events
		if e.Call.Trust == "pinned" || e.Call.Trust == "verified" {
			t.Error(e.Call.Trust)
		}
		if e.Type == "call-ended" {
			why = e.Call.Reason
		}
	}
	if bob != "" && !strings.Contains(why, bob) {
		t.Errorf("the event says %q", why)
	}
	w.none()
}

// The log and the record say of both kinds why.
func TestUnattendedIsToldOf(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change     func(*companies)
		alice, bob string
		why        string
	}{
		"before it rings": {func(u *companies) { u.publicA = nil }, keyless + "alice@a.example", "", strings.TrimPrefix(keyless, "refused 488 ")},
		"with the ACK":    {func(u *companies) { u.signsA = nil }, "bye", unsigned, unsigned},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer // which a handler writes to one line at a time
				kept := &keptCalls{}
				o := unattended(t, c.change).options(t)
				o.optionsB = all(o.optionsB, func(o *b2bua.Options) {
					o.Log = slog.New(slog.NewTextHandler(&log, nil))
					o.Record = kept
				})
				w := newWorld(t, o)
				w.comesToNothing(c.alice, c.bob)
				w.close()
				if !strings.Contains(log.String(), c.why) {
					t.Errorf("the log says\n%s", log.String())
				}
				if len(kept.calls) != 1 || !strings.Contains(kept.calls[0].Reason, c.why) || kept.calls[0].Trust == "verified" {
					t.Errorf("the record says %+v", kept.calls)
				}
			})
		})
	}
}

// keptCalls is a record in memory. It is read behind the end of who writes to it.
type keptCalls struct {
	mu    sync.Mutex
	calls []record.Call
}

func (k *keptCalls) Add(c record.Call) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls = append(k.calls, c)
}

// inBubbleOfCompanies makes the keys within the bubble, whose clock they go by.
func inBubbleOfCompanies(t *testing.T, change func(*companies), story func(t *testing.T, u *companies, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		u := unattended(t, change)
		w := newWorld(t, u.options(t))
		defer w.close()
		story(t, u, w)
	})
}
