package calls

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/route/registrar"
	"github.com/sipward/sipward/sas/attest"
	"github.com/sipward/sipward/sip"
)

// Whom a sipward signs for: a phone that has proved who it is, under the name that
// it was called by.
func TestSignsForWhoHasProvedIt(t *testing.T) {
	t.Parallel()
	signs := func(o *b2bua.Options) {
		o.Signers = func(string) []attest.Signer { return keysOf(t, "b") }
	}
	open := worldOptions{optionsB: func(o *b2bua.Options) { // a registrar without passwords
		var err error
		if o.Registrar, err = registrar.New(registrar.Options{}); err != nil {
			panic(err)
		}
		o.Domains = []string{"b.example"}
	}}
	for name, c := range map[string]struct {
		house    worldOptions
		password string
		optionsB func(*b2bua.Options)
		to       string
		want     string // identity that is proved to alice
	}{
		"by a password":                       {withAccounts("carol"), "pw-carol", signs, "sip:carol@b.example", "sip:carol@b.example"},
		"by a password, another domain there": {withAccounts("carol"), "pw-carol", all(signs, func(o *b2bua.Options) { o.Domains = append(o.Domains, "second.example") }), "sip:carol@b.example", "sip:carol@b.example"},
		"by nothing":                          {open, "", signs, "sip:carol@b.example", ""},
		"by the wire": {open, "", all(signs, func(o *b2bua.Options) {
			o.Listeners[0].Identities = func(id string) bool { return id == "sip:carol@b.example" }
		}), "sip:carol@b.example", "sip:carol@b.example"},
		"by the wire, somebody else": {open, "", all(signs, func(o *b2bua.Options) {
			o.Listeners[0].Identities = func(id string) bool { return id == "sip:dave@b.example" }
		}), "sip:carol@b.example", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := c.house
			o.optionsB = all(o.optionsB, c.optionsB)
			inBubble(t, o, func(t *testing.T, w *world) {
				if res := w.register(bobPhone, insideB, "carol", c.password, "600"); res == nil || res.Status != 200 {
					t.Fatalf("REGISTER: %+v", res)
				}
				w.alice.call(c.to)
				w.alice.await("answered")
				w.bob.await("acked")
				w.talk(10)
				if va, _ := w.views(); va.Identity != c.want || va.Trust != "encrypted" {
					t.Errorf("%q, %s: %s", va.Identity, va.Trust, va.Says)
				}
			})
		})
	}
}

// A key that takes its time holds up neither what else happens in the call nor its
// end.
func TestSigningDoesNotHoldTheQueue(t *testing.T) {
	t.Parallel()
	slow := func(o *b2bua.Options) {
		o.Listeners[0].Identities = func(string) bool { return true }
		o.Signers = func(string) []attest.Signer { return []attest.Signer{hangs{}} }
	}
	t.Run("the callee's", func(t *testing.T) {
		t.Parallel()
		inBubble(t, worldOptions{optionsB: slow}, func(t *testing.T, w *world) {
			w.alice.call("sip:bob@b.example")
			w.bob.await("invited")
			time.Sleep(100 * time.Millisecond) // it has answered, and its signature is waited for
			w.alice.queue.Post(func() { w.alice.dialog.Cancel() })
			w.alice.await("refused sip: cancelled")
			w.bob.await("bye")
			time.Sleep(time.Second)
			w.none()
		})
	})
	t.Run("the caller's", func(t *testing.T) {
		t.Parallel()
		inBubble(t, worldOptions{optionsA: slow}, func(t *testing.T, w *world) {
			w.alice.call("sip:bob@b.example")
			w.bob.await("invited")
			time.Sleep(100 * time.Millisecond)
			w.alice.queue.Post(func() { w.alice.dialog.Cancel() }) // before bob's answer is acknowledged
			w.alice.await("refused sip: cancelled")
			w.bob.await("bye")
			time.Sleep(40 * time.Second)
			w.none()
		})
	})
}

// What was said of the string holds between the two who said it: behind a transfer
// somebody else speaks.
func TestTransferEndsWhatWasSaid(t *testing.T) {
	t.Parallel()
	davesPhone := netip.MustParseAddrPort("10.1.0.3:5060")
	ma, mb := memory(t), memory(t)
	inBubble(t, worldOptions{optionsA: signing("a.example", ma, nil), optionsB: signing("b.example", mb, nil),
		routesA: []string{"dave", "sip:dave@" + davesPhone.String(), "inside"}}, func(t *testing.T, w *world) {
		dave := w.phone("dave", davesPhone, insideA)
		defer dave.close()
		w.up()
		w.talk(10)
		va, _ := w.views()
		if v, err := w.a.proxy.SaySAS(context.Background(), va.ID, b2bua.Said{Equal: true}); err != nil || v.Trust != "verified" {
			t.Fatalf("%+v, %v", v, err)
		}
		w.alice.do(func(d *sipDialog) {
			d.Do("REFER", "", nil, func(*sip.Message, error) {}, sip.Field{Name: "Refer-To", Value: "<sip:dave@a.example>"})
		})
		dave.await("acked")
		time.Sleep(5 * time.Second)
		synctest.Wait()
		v := w.a.proxy.Calls()
		if len(v) != 1 || v[0].Continues != va.ID || v[0].Trust != "encrypted" || v[0].Protection != "srtp" {
			t.Errorf("%+v", v)
		}
	})
}
