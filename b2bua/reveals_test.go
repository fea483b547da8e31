package b2bua

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/sipward/sipward/sip"
)

func TestHoldsAddress(t *testing.T) {
	t.Parallel()
	private := func(a netip.Addr) bool { return a.IsPrivate() }
	for text, want := range map[string]bool{
		"":                         false,
		"10.1.0.2":                 true,
		"sip:217@10.1.0.2:5060":    true,
		"tel10.1.0.2":              true,
		"fe10.1.0.2":               true,
		"1.10.1.0.2":               true,
		"10.1.0.2.":                true,
		"10.1.0.256":               false,
		"110.1.0.2":                false,
		"10.1.0":                   false,
		"192.0.2.1":                false,
		"[fd00::1]:5060":           true,
		"fd00::1":                  true,
		"[2001:db8::1]":            false,
		"::ffff:10.1.0.2":          true,
		"a:b:c":                    false,
		"192.0.2.1, 192.168.178.1": true,
		"12:34:56":                 false,
	} {
		if got := holdsAddress(text, private); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// Whatever stands around an address, it is found; and nothing is found that is
// not there.
func FuzzHoldsAddress(f *testing.F) {
	f.Add("sip:217@", uint32(0x0a010002), ":5060")
	f.Add("12", uint32(0x0a010002), "5")
	f.Add("fe::", uint32(0xc0a80102), ".example")
	f.Add("", uint32(0xac100001), "")
	f.Fuzz(func(t *testing.T, before string, octets uint32, after string) {
		addr := netip.AddrFrom4([4]byte{byte(octets >> 24), byte(octets >> 16), byte(octets >> 8), byte(octets)})
		if len(before)+len(after) > 1000 {
			return
		}
		if before != "" && (isDigit(before[len(before)-1])) || after != "" && isDigit(after[0]) {
			return // part of a longer number
		}
		if !holdsAddress(before+addr.String()+after, func(a netip.Addr) bool { return a == addr }) {
			t.Errorf("%v is not found in %q", addr, before+addr.String()+after)
		}
		text := before + after
		holdsAddress(text, func(a netip.Addr) bool {
			if a.Is4() && !strings.Contains(text, a.String()) && !strings.Contains(text, ":") {
				t.Errorf("%v is found in %q", a, text)
			}
			return false
		})
	})
}

func TestPrivacyOf(t *testing.T) {
	t.Parallel()
	for values, want := range map[string]string{
		"":                     "",
		"id":                   "id",
		"ID; Critical":         "id critical",
		"header|user":          "header user id",
		"header,nonsense;user": "header user id",
		"none":                 "none",
		"history":              "history",
		"id;id;id":             "id",
		"secret@10.0.0.1":      "",
	} {
		m := &sip.Message{}
		for _, v := range strings.Split(values, "|") {
			m.Add("Privacy", v)
		}
		if got := strings.Join(privacyOf(m), " "); got != want {
			t.Errorf("%q: %q, want %q", values, got, want)
		}
	}
}

// Every field that this proxy writes itself, or that means something on one leg
// alone, is in the table; what is unknown goes on.
func TestTreatments(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]treatment{
		"Via": ours, "CONTACT": ours, "Content-Type": ours, "Content-Length": ours, "DH-Init": ours, "Proxy-Authorization": ours, "WWW-Authenticate": ours,
		"P-Charging-Vector": ours, "Call-ID": ours, "Record-Route": ours, "Replaces": ours, "User-Agent": ours, "Subject": ours,
		"Diversion": addressy, "history-info": addressy,
		"X-Account": textual, "User-to-User": textual, "Alert-Info": textual, "Reason": textual,
	} {
		if got := treatmentOf(name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	for name := range treatments {
		if strings.ToLower(name) != name {
			t.Errorf("%s is not found", name)
		}
	}
	for _, name := range passed {
		if treatmentOf(name) != ours {
			t.Errorf("%s would go on twice", name)
		}
	}
}
