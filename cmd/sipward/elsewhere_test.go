package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sipward/sipward/sip"
)

// provider is a UDP socket that grants every REGISTER and remembers the contacts.
type provider struct {
	conn     *net.UDPConn
	contacts chan string
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 3)})
	if err != nil {
		t.Skip("this machine has no 127.0.0.3: ", err)
	}
	t.Cleanup(func() { conn.Close() })
	p := &provider{conn: conn, contacts: make(chan string, 100)}
	go func() {
		b := make([]byte, 4096)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			m, err := sip.Parse(bytes.Clone(b[:n]))
			if err != nil || m.Method != "REGISTER" {
				continue
			}
			res := sip.NewResponse(m, 200, "", "granted")
			res.Add("Contact", m.Get("Contact")+";expires=600")
			conn.WriteToUDPAddrPort(res.Bytes(), from)
			p.contacts <- m.Get("Contact")
		}
	}()
	return p
}

// A sipward that is killed while phones register forgets none that was answered
// 200: the next one at the same addresses rings them all.
func TestAccountsElsewhereAfterKill(t *testing.T) {
	t.Parallel()
	elsewhere := newProvider(t)
	host := elsewhere.conn.LocalAddr().(*net.UDPAddr).AddrPort()
	state := filepath.Join(t.TempDir(), "state.db")
	config := func(inside, outside string) string {
		return fmt.Sprintf("listeners:\n  - {name: phones, side: inside, address: %q}\n  - {name: internet, side: outside, address: %q}\napi: {listen: \"127.0.0.1:0\"}\nstate: %q\n", inside, outside, state)
	}
	p := startTest(t, config("127.0.0.1:0", "127.0.0.2:0"))
	proxy := netip.MustParseAddrPort(p.inside)
	const phones = 12
	type answered struct {
		user int
		conn *net.UDPConn
	}
	ok := make(chan answered, phones)
	for i := range phones {
		conn, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}, net.UDPAddrFromAddrPort(proxy))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		go func() {
			here := conn.LocalAddr()
			fmt.Fprintf(conn, "REGISTER sip:%[1]v SIP/2.0\r\nVia: SIP/2.0/UDP %[2]v;branch=z9hG4bKkill;rport\r\nMax-Forwards: 70\r\nFrom: <sip:u%[3]d@%[1]v>;tag=1\r\nTo: <sip:u%[3]d@%[1]v>\r\n"+
				"Call-ID: kill-%[3]d\r\nCSeq: 1 REGISTER\r\nContact: <sip:u%[3]d@%[2]v>\r\nContent-Length: 0\r\n\r\n", host, here, i)
			b := make([]byte, 4096)
			conn.SetReadDeadline(time.Now().Add(patience))
			if n, err := conn.Read(b); err == nil && strings.HasPrefix(string(b[:n]), "SIP/2.0 200 ") {
				ok <- answered{i, conn}
			}
		}()
	}
	var registered []answered
	for len(registered) < phones/2 {
		select {
		case a := <-ok:
			registered = append(registered, a)
		case <-time.After(patience):
			t.Fatalf("%d phones have registered", len(registered))
		}
	}
	p.kill() // with SIGKILL, in the middle of the others
	for len(ok) > 0 {
		registered = append(registered, <-ok)
	}
	var contacts []string
	for len(elsewhere.contacts) > 0 {
		contacts = append(contacts, <-elsewhere.contacts)
	}

	again := startTest(t, config(p.inside, p.outside))
	if again.inside != p.inside || again.outside != p.outside {
		t.Fatalf("listens at %s and %s instead of %s and %s", again.inside, again.outside, p.inside, p.outside)
	}
	caller, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 3)}, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(p.outside)))
	if err != nil {
		t.Fatal(err)
	}
	defer caller.Close()
	sdp := "v=0\r\no=- 1 1 IN IP4 127.0.0.3\r\ns=-\r\nc=IN IP4 127.0.0.3\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\n"
	for i, c := range contacts {
		uri := strings.Trim(c, "<>")
		fmt.Fprintf(caller, "INVITE %[1]s SIP/2.0\r\nVia: SIP/2.0/UDP %[2]v;branch=z9hG4bKinv%[3]d;rport\r\nMax-Forwards: 70\r\nFrom: <sip:x@b.example>;tag=1\r\nTo: <%[1]s>\r\n"+
			"Call-ID: inv-%[3]d\r\nCSeq: 1 INVITE\r\nContact: <sip:x@%[2]v>\r\nContent-Type: application/sdp\r\nContent-Length: %[4]d\r\n\r\n%[5]s", uri, caller.LocalAddr(), i, len(sdp), sdp)
	}
	for _, a := range registered {
		a.conn.SetReadDeadline(time.Now().Add(patience))
		line := ""
		for !strings.HasPrefix(line, fmt.Sprintf("INVITE sip:u%d@", a.user)) {
			b := make([]byte, 4096)
			n, err := a.conn.Read(b)
			if err != nil {
				t.Errorf("phone %d was answered 200 and is not called: %v", a.user, err)
				break
			}
			line, _ = bufio.NewReader(bytes.NewReader(b[:n])).ReadString('\n')
		}
	}
}
