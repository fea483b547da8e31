package calls

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/auth"
)

var providerAddr = netip.MustParseAddrPort("198.51.100.50:5060")

// A provider that asks for the trunk's password gets it, once, with a new
// share; the caller appears as the provider's customer.
func TestTrunkAnswersTheProvidersChallenge(t *testing.T) {
	t.Parallel()
	for password, up := range map[string]bool{"pw-customer": true, "wrong": false} {
		o := worldOptions{modeA: policy.Prefer, optionsA: func(a *b2bua.Options) {
			a.Peer = func(host string, _ netip.Addr) string {
				if host == "provider.example" || host == providerAddr.Addr().String() {
					return "provider"
				}
				return ""
			}
			a.Trunks = []b2bua.Trunk{{Peer: "provider", From: sip.URI{Scheme: "sip", User: "customer", Host: "provider.example"},
				Credentials: auth.Credentials{User: "customer", Password: password}}}
		}}
		inBubble(t, o, func(t *testing.T, w *world) {
			challenger, err := auth.New(auth.Options{Realm: "b.example", Users: passwords{"customer"}})
			if err != nil {
				t.Fatal(err)
			}
			provider := w.phone("provider", providerAddr, outsideA)
			defer provider.close()
			var offers, callers []string
			provider.first = func(in *sip.Incoming) bool {
				if in.Method != "INVITE" {
					return false
				}
				offers = append(offers, value(string(in.Body), "dh-init"))
				callers = append(callers, in.From().URI.AOR())
				if challenger.Verify(in.Values("Proxy-Authorization"), auth.Request{Method: "INVITE", URI: in.URI.String()}).Verdict == auth.OK {
					return false
				}
				var fields []sip.Field
				for _, c := range challenger.Challenge(false) {
					fields = append(fields, sip.Field{Name: "Proxy-Authenticate", Value: c})
				}
				in.Reply(407, "", fields...)
				return true
			}
			w.alice.call("sip:+4930555@" + providerAddr.Addr().String())
			if got := w.alice.await("answered", "refused"); up != strings.HasPrefix(got, "answered") {
				t.Fatalf("password %s: %s", password, got)
			}
			if len(offers) != 2 || offers[0] == "" || offers[0] == offers[1] {
				t.Errorf("offers %q", offers)
			}
			for _, c := range callers {
				if c != "sip:customer@provider.example" {
					t.Errorf("the provider sees %s", c)
				}
			}
			if up {
				provider.await("acked")
				w.alice.hangup()
				provider.await("bye")
			}
			w.none()
		})
	}
}
