package calls

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/policy"
)

// raw is a stranger's socket.
type raw struct {
	conn net.PacketConn
	got  chan string
}

func (w *world) raw(at netip.AddrPort) *raw {
	r := &raw{w.listen(at), make(chan string, 100)}
	go func() {
		defer close(r.got)
		buf := make([]byte, 65535)
		for {
			n, _, err := r.conn.ReadFrom(buf)
			if err != nil {
				return
			}
			select {
			case r.got <- string(buf[:n]):
			default:
			}
		}
	}()
	return r
}

func (r *raw) send(to netip.AddrPort, msg string) {
	r.conn.WriteTo([]byte(msg), net.UDPAddrFromAddrPort(to))
	synctest.Wait()
}

func (r *raw) drain() (out []string) {
	synctest.Wait()
	for {
		select {
		case m := <-r.got:
			out = append(out, m)
		default:
			return out
		}
	}
}

func request(method, uri, body string, n int) string {
	ct := ""
	if body != "" {
		ct = "Content-Type: application/sdp\r\n"
	}
	return fmt.Sprintf("%s %s SIP/2.0\r\nVia: SIP/2.0/UDP 203.0.113.66:5060;branch=z9hG4bKx%d\r\nFrom: <sip:mallory@evil.example>;tag=%d\r\nTo: <%s>\r\n"+
		"Call-ID: stranger%d\r\nCSeq: 1 %s\r\nMax-Forwards: 70\r\nContact: <sip:mallory@203.0.113.66>\r\n%sContent-Length: %d\r\n\r\n%s",
		method, uri, n, n, uri, n, method, ct, len(body), body)
}

// normal takes out of an answer what differs between any two requests.
func normal(answer string) string {
	var out []string
	for _, l := range strings.Split(answer, "\r\n") {
		if k, _, _ := strings.Cut(l, ":"); k == "Via" || k == "From" || k == "To" || k == "Call-ID" || k == "CSeq" {
			continue
		}
		out = append(out, l)
	}
	return strings.Join(out, "\n")
}

func TestStrangersGetOneAnswer(t *testing.T) {
	t.Parallel()
	inBubble(t, worldOptions{peersOnly: true}, func(t *testing.T, w *world) {
		m := w.raw(strangerAddr)
		defer m.conn.Close()
		sdp := phoneSDP(strangerAddr.Addr(), 4000)
		answers := map[string]int{}
		n := 0
		for _, method := range []string{"INVITE", "OPTIONS", "REGISTER", "MESSAGE", "SUBSCRIBE"} {
			for _, user := range []string{"bob", "nobody"} {
				n++
				body := ""
				if method == "INVITE" {
					body = sdp
				}
				m.send(outsideB, request(method, "sip:"+user+"@b.example", body, n))
				for _, got := range m.drain() {
					answers[normal(got)]++
				}
				time.Sleep(10 * time.Second)
			}
		}
		if len(answers) != 1 {
			t.Errorf("%d different answers: %v", len(answers), answers)
		}
		for a, count := range answers {
			if count != n || !strings.HasPrefix(a, "SIP/2.0 403") {
				t.Errorf("%d of %d got %q", count, n, a)
			}
		}
		if len(w.bob.events) != 0 {
			t.Error("bob's phone heard of a stranger")
		}
	})
}

// A flood costs a handful of answers, and a call of others goes on through it.
func TestStrangersAreRateLimited(t *testing.T) {
	t.Parallel()
	inBubble(t, worldOptions{}, func(t *testing.T, w *world) {
		w.up()
		m := w.raw(strangerAddr)
		defer m.conn.Close()
		for i := range 1000 {
			m.conn.WriteTo([]byte(request("INVITE", "sip:nobody@b.example", phoneSDP(strangerAddr.Addr(), 4000), i)), net.UDPAddrFromAddrPort(outsideB))
			if i%100 == 0 {
				synctest.Wait()
			}
		}
		if got := len(m.drain()); got < 1 || got > 10 {
			t.Errorf("%d answers to 1000 requests of one moment", got)
		}
		if b, a := w.talk(10); b != 10 || a != 10 {
			t.Errorf("through the flood bob heard %d, alice %d of 10", b, a)
		}
	})
}

// No call leads from outside to outside, whatever the routes say.
func TestNoTransit(t *testing.T) {
	t.Parallel()
	inBubble(t, worldOptions{modeB: policy.Prefer}, func(t *testing.T, w *world) {
		crossed := 0
		w.net.Tap(func(d memnet.Datagram) {
			if d.From == outsideB && d.To == outsideA {
				crossed++
			}
		})
		m := w.raw(strangerAddr)
		defer m.conn.Close()
		m.send(outsideB, request("INVITE", "sip:alice@a.example", phoneSDP(strangerAddr.Addr(), 4000), 1))
		got := m.drain()
		if len(got) != 1 || !strings.HasPrefix(got[0], "SIP/2.0 403") || crossed != 0 {
			t.Errorf("got %q, %d datagrams went on", got, crossed)
		}
	})
}

func TestMalformedRequests(t *testing.T) {
	t.Parallel()
	inBubble(t, worldOptions{}, func(t *testing.T, w *world) {
		w.up()
		m := w.raw(netip.MustParseAddrPort("10.1.0.9:5060"))
		defer m.conn.Close()
		good := request("INVITE", "sip:bob@b.example", phoneSDP(alicePhone.Addr(), 4000), 1)
		for name, c := range map[string]struct{ msg, want string }{
			"no From":                 {removeLine(good, "From:"), ""},
			"two Call-IDs":            {strings.Replace(good, "CSeq:", "Call-ID: x\r\nCSeq:", 1), "400"},
			"CSeq of another method":  {strings.Replace(good, "CSeq: 1 INVITE", "CSeq: 1 BYE", 1), "400"},
			"no tag":                  {strings.Replace(good, ";tag=1", "", 1), "400"},
			"body cut":                {good[:len(good)-20], "400"},
			"Max-Forwards used up":    {strings.Replace(good, "Max-Forwards: 70", "Max-Forwards: 0", 1), "483"},
			"Max-Forwards malformed":  {strings.Replace(good, "Max-Forwards: 70", "Max-Forwards: many", 1), "400"},
			"another scheme":          {strings.Replace(good, "INVITE sip:bob@b.example", "INVITE tel:+4930123", 1), "416"},
			"an unknown extension":    {strings.Replace(good, "CSeq:", "Require: teleport\r\nCSeq:", 1), "420"},
			"a body that is no SDP":   {strings.Replace(good, "application/sdp", "application/pidf+xml", 1), "415"},
			"SDP that cannot be read": {request("INVITE", "sip:bob@b.example", "hello", 2), "400"},
			"only SAVP":               {request("INVITE", "sip:bob@b.example", strings.Replace(phoneSDP(alicePhone.Addr(), 4000), "RTP/AVP", "RTP/SAVP", 1), 3), "488"},
			"a dialog that is not":    {strings.Replace(good, "To: <sip:bob@b.example>", "To: <sip:bob@b.example>;tag=zz", 1), "481"},
			"noise":                   {"\x00\x01\x02 this is not SIP\r\n\r\n", ""},
			"user not here":           {strings.Replace(good, "INVITE sip:bob@b.example", "INVITE sip:carol@"+insideA.String(), 1), "404"},
		} {
			time.Sleep(10 * time.Second)
			m.send(insideA, c.msg)
			var status string
			for _, got := range m.drain() {
				if s := strings.Fields(firstLine([]byte(got)))[1]; s != "100" {
					status = s
				}
			}
			if status != c.want {
				t.Errorf("%s: got %q, want %q", name, status, c.want)
			}
			time.Sleep(time.Minute)
			m.drain() // repetitions of the answer, which nobody acknowledges
		}
		if b, a := w.talk(10); b != 10 || a != 10 {
			t.Errorf("afterwards bob heard %d, alice %d of 10", b, a)
		}
		if n := len(w.a.proxy.Calls()); n != 1 {
			t.Errorf("%d calls, want the one that was there", n)
		}
	})
}

// Whoever calls himself one of a listed peer's people from elsewhere gets no
// milder treatment than the peer: what is required of it is required of him.
func TestClaimedPeerIsHeldToThePeersRule(t *testing.T) {
	t.Parallel()
	o := worldOptions{modeA: policy.Off, modeB: policy.Prefer, rulesB: policy.Rules{ListedPeers: policy.Require}}
	o.peerB = func(host string, addr netip.Addr) string {
		if host == "a.example" {
			return "partner"
		}
		return ""
	}
	inBubble(t, o, func(t *testing.T, w *world) {
		w.alice.call("sip:bob@b.example") // From: sip:alice@a.example, without an exchange
		if got := w.alice.await("refused", "answered"); !strings.HasPrefix(got, "refused 488") {
			t.Errorf("got %q", got)
		}
	})
}
