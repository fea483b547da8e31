package sip

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// Messages of one call are handled in the order in which they were sent. On
// real sockets, since a library that gives every message its own goroutine
// swaps most of them there.
func TestOrderIsKept(t *testing.T) {
	t.Parallel()
	runs := 1000
	if testing.Short() {
		runs = 100
	}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s := NewStack(Options{Log: quietLog})
	defer s.Close()
	l, err := s.Listen(ListenerOptions{Packet: listenUDP(t)})
	if err != nil {
		t.Fatal(err)
	}
	peer := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	to := net.UDPAddrFromAddrPort(l.Local())
	swapped := 0
	for run := range runs {
		u := newUser()
		over := make(chan struct{})
		u.request = func(tx *ServerTx) {
			tx.Reply(200, "")
			if tx.Request.Method == "BYE" {
				u.dialog.Closed()
				close(over)
			}
		}
		u.dial(t, s, l, peer)
		inv := readSIP(t, conn, "INVITE")
		// All at once: 180, 183, 200, three INFOs and the BYE.
		var batch [][]byte
		for _, status := range []int{180, 183, 200} {
			batch = append(batch, NewResponse(inv, status, "", "b").Bytes())
		}
		for i, method := range []string{"INFO", "INFO", "INFO", "BYE"} {
			m := &Message{Method: method, URI: URI{Scheme: "sip", Host: "a"}}
			m.Add("Via", "SIP/2.0/UDP "+peer.String()+";rport;branch=z9hG4bK"+itoa(run)+"-"+itoa(i))
			m.Add("From", inv.Get("To")+";tag=b")
			m.Add("To", inv.Get("From"))
			m.Add("Call-ID", inv.CallID())
			m.Add("CSeq", itoa(i+1)+" "+method)
			batch = append(batch, m.Bytes())
		}
		for _, b := range batch {
			if _, err := conn.WriteTo(b, to); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case <-over:
		case <-time.After(10 * time.Second):
			t.Fatalf("run %d: no BYE, heard %q", run, u.events())
		}
		if got := u.events(); !slices.Equal(got, []string{"180", "183", "answer", "INFO", "INFO", "INFO", "BYE"}) {
			swapped++
			if swapped < 5 {
				t.Errorf("run %d: heard %q", run, got)
			}
		}
	}
	if swapped > 0 {
		t.Errorf("%d of %d calls were swapped", swapped, runs)
	}
}

func listenUDP(t testing.TB) net.PacketConn {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// readSIP reads from a real socket until a message of that name comes.
func readSIP(t testing.TB, conn net.PacketConn, name string) *Message {
	t.Helper()
	b := make([]byte, MaxMessage)
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	for {
		n, _, err := conn.ReadFrom(b)
		if err != nil {
			t.Fatalf("%s did not come: %v", name, err)
		}
		if what(b[:n]) == name {
			m, _ := Parse(b[:n])
			return m
		}
	}
}

// The server's side of the same: an ACK that came before a re-INVITE is
// handled before it.
func TestOrderIsKeptTowardsACallee(t *testing.T) {
	t.Parallel()
	u := newUser()
	s := NewStack(Options{Log: quietLog, Handler: func(in *Incoming) { u.taking(func() { u.dialog.Answer("", nil) })(in) }})
	defer s.Close()
	l, err := s.Listen(ListenerOptions{Packet: listenUDP(t)})
	if err != nil {
		t.Fatal(err)
	}
	conn := listenUDP(t)
	defer conn.Close()
	addr := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	to := net.UDPAddrFromAddrPort(l.Local())
	carol := &remote{addr: netip.AddrPortFrom(addr.Addr(), addr.Port())}
	send := func(m *Message) {
		if _, err := conn.WriteTo(m.Bytes(), to); err != nil {
			t.Fatal(err)
		}
	}
	send(carol.request("INVITE"))
	tag := readSIP(t, conn, "200 INVITE").Get("To")
	var want []string
	for i := range 200 {
		seq := itoa(i + 2)
		via := "SIP/2.0/UDP " + addr.String() + ";rport;branch=z9hG4bK" + seq
		send(carol.request("ACK", "To", tag, "CSeq", itoa(i+1)+" ACK", "Via", via+"a"))
		send(carol.request("INVITE", "To", tag, "CSeq", seq+" INVITE", "Via", via))
		readSIP(t, conn, "200 INVITE")
		want = append(want, "INVITE", "ACK")
		if i == maxServers-10 {
			break // each stays 64*T1
		}
	}
	want = append(want, "INVITE")
	if got := u.events(); !slices.Equal(got, want) {
		t.Errorf("heard %s", strings.Join(got, " "))
	}
}
