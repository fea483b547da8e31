package b2bua

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sip"
)

// recordExample is what files of this version hold; it has to stay readable.
const recordExample = `{"registrar":":b.example:0","aor":"sip:alice@b.example","instance":"\"<urn:uuid:1>\";1","contact":"sip:alice@10.1.0.2:5060;ob",` +
	`"phone":{"network":"udp","listener":"phones","remote":"10.1.0.2:5060"},"path":["<sip:10.1.0.9;lr>"],"services":["<sip:p.b.example;lr>"],` +
	`"host":"b.example","kept":{"network":"udp","listener":"internet","remote":"192.0.2.9:5060"},"expires":1772370000000}`

const recordToken = "sabcdefghijklmnop"

// withListeners is a proxy of which only the listeners are there.
func withListeners(t testing.TB) *Proxy {
	t.Helper()
	stack := sip.NewStack(sip.Options{})
	t.Cleanup(stack.Close)
	p := &Proxy{stack: stack}
	for name, side := range map[string]policy.Side{"phones": policy.Inside, "internet": policy.Outside} {
		conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		l, err := stack.Listen(sip.ListenerOptions{Name: name, Packet: conn})
		if err != nil {
			t.Fatal(err)
		}
		p.listeners = append(p.listeners, &listener{Listener: Listener{Name: name, Side: side}, sip: l})
	}
	return p
}

func TestAccountRecord(t *testing.T) {
	t.Parallel()
	p := withListeners(t)
	expires := time.UnixMilli(1772370000000)
	a, err := p.decodeAccount(recordToken, []byte(recordExample), expires.Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if a.aor != "sip:alice@b.example" || a.name.phone != `"<urn:uuid:1>";1` || a.contact != "sip:alice@10.1.0.2:5060;ob" || a.path[0] != "<sip:10.1.0.9;lr>" ||
		a.services[0] != "<sip:p.b.example;lr>" || a.way.Host != "b.example" || !a.expires.Equal(expires) || !a.granted ||
		a.flow.Remote() != netip.MustParseAddrPort("10.1.0.2:5060") || a.registrar.Listener().Name != "internet" {
		t.Errorf("%+v", a)
	}
	// A clock that was set back makes nothing last for ever.
	if a, err = p.decodeAccount(recordToken, []byte(recordExample), expires.AddDate(-1, 0, 0)); err != nil || !a.expires.Equal(expires.AddDate(-1, 0, 0).Add(longestGrant)) {
		t.Errorf("%+v, %v", a, err)
	}
	for _, token := range []string{"", "sabc", "xabcdefghijklmnop", "sabcdefghijklmno1", "sABCDEFGHIJKLMNOP"} {
		if _, err := p.decodeAccount(token, []byte(recordExample), expires); err == nil {
			t.Errorf("the token %q is taken", token)
		}
	}
}

// What is taken is written again, and is then read as the same.
func FuzzDecodeAccount(f *testing.F) {
	f.Add([]byte(recordExample))
	f.Add([]byte(`{"registrar":"udp:B:5060","aor":"sip:a@[::1]","contact":"sips:a@[::1]","phone":{"network":"udp","listener":"phones","remote":"[::ffff:10.1.0.2]:1"},` +
		`"host":"B","port":-1,"network":"x","kept":{"network":"udp","listener":"internet","remote":"1.2.3.4:5"},"expires":-1}`))
	p := withListeners(f)
	f.Fuzz(func(t *testing.T, value []byte) {
		now := time.UnixMilli(0)
		a, err := p.decodeAccount(recordToken, value, now)
		if err != nil {
			return
		}
		again, err := encodeAccount(a.name, a.binding, a.expires)
		if err != nil {
			t.Skip(err)
		}
		b, err := p.decodeAccount(recordToken, again, now)
		if err != nil || b.name != a.name {
			t.Fatalf("%s is read again as %+v, %v", again, b, err)
		}
		if third, err := encodeAccount(b.name, b.binding, b.expires); err != nil || string(third) != string(again) {
			t.Errorf("%s is written again as %s, %v", again, third, err)
		}
	})
}
