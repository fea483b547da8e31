//go:build interop && linux

package interop

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sipward/sipward/configs"
	"github.com/sipward/sipward/demo/audio"
	"github.com/sipward/sipward/demo/capture"
)

const (
	// routerForgets is after how long without a packet the router forgets who sent
	// it: less than the 30 s of the routers in people's homes.
	routerForgets = 27 * time.Second
	// idle is how long nothing but keep-alives comes by.
	idle = routerForgets + 3*time.Second
)

// startAgent starts a sipward as people have it on their computer: with the ready
// configuration, but for a log that the tests can read.
func startAgent(t *testing.T, in *space) *sipward {
	t.Helper()
	dir := t.TempDir()
	s := &sipward{space: in, configFile: filepath.Join(dir, "sipward.yaml")}
	ready := string(configs.Workstation())
	text := strings.Replace(ready, "\n  level: info\n", "\n  level: debug\n  format: json\n", 1)
	if text == ready {
		t.Fatal("workstation.yaml has no line for the level of the log")
	}
	writeFile(t, s.configFile, text)
	c := configs.WorkstationConfig()
	s.ports = sipwardPorts{inside: int(c.Listeners[0].Address.Port), outside: int(c.Listeners[1].Address.Port), api: int(c.API.Listen.Port())}
	s.run(t, "Alice's sipward", dir)
	return s
}

// startBranch starts the sipward on the Internet that Bob reaches his account
// through, and behind which Carol can be called at her own address.
func startBranch(t *testing.T, in *space, ports sipwardPorts, carol *baresip) *sipward {
	t.Helper()
	dir := t.TempDir()
	s := &sipward{space: in, ports: ports, configFile: filepath.Join(dir, "sipward.yaml")}
	writeFile(t, s.configFile, fmt.Sprintf(`
listeners:
  - {name: phones, side: inside, address: "%[1]s:%[2]d"}
  - {name: internet, side: outside, address: "%[3]s:%[4]d"}
routes:
  - {match: carol, from: outside, to: "sip:carol@%[1]s:%[5]d", side: inside}
policy: {unknown_peers: require}
media: {ports: %[6]d-%[7]d}
api: {listen: "%[1]s:%[8]d"}
log: {level: debug, format: json}
`, phoneHost, ports.inside, officeHost, ports.outside, carol.sip, ports.media, ports.media+mediaPorts-1, ports.api))
	s.run(t, "Bob's sipward", dir)
	return s
}

// TestBehindNAT is Alice at home: a softphone and a sipward behind a router, which
// nobody has told anything. She has an account at a provider, calls and is called
// there, and calls somebody directly.
func TestBehindNAT(t *testing.T) {
	t.Parallel()
	shows(t, "calls through a router with NAT", "baresip", "Kamailio")
	h := newHome(t, routerForgets)
	provider := startKamailioIn(h.internet, t, providerHost, 5060, "")
	branchPorts := newSipwardPorts(t)
	inBranch := fmt.Sprintf("%s:%d", phoneHost, branchPorts.inside)
	carol := startPhone(t, phone{space: h.internet, user: "carol", voice: audio.Bob(), outbound: inBranch, transport: "udp"})
	b := startBranch(t, h.internet, branchPorts, carol)
	a := startAgent(t, h.computer)
	tap := startWiretapIn(h.internet, t, internetPort, netip.MustParseAddrPort(routerHost+":9"), "udp and host "+routerHost)
	unkept := newUnkept(t, h)

	alice := startPhone(t, phone{space: h.computer, user: "alice", domain: providerHost, password: "alices-secret", voice: audio.Alice(),
		outbound: fmt.Sprintf("%s:%d", phoneHost, a.ports.inside), transport: "udp"})
	bob := startPhone(t, phone{space: h.internet, user: "bob", domain: providerHost, password: "bobs-secret", voice: audio.Bob(), outbound: inBranch, transport: "udp"})
	alice.awaitRegistered()
	bob.awaitRegistered()

	for _, c := range []struct {
		name           string
		caller, callee *baresip
		dialled        string
		from, to       *sipward
		lasts          time.Duration
	}{
		{"Alice to Bob at the provider", alice, bob, "sip:bob@" + providerHost, a, b, 0},
		// The way through the router to the provider is idle meanwhile, and so is the
		// one to Carol's sipward, but for the media.
		{"Alice to Carol directly", alice, carol, fmt.Sprintf("sip:carol@%s:%d", officeHost, branchPorts.outside), a, b, idle},
		{"Bob to Alice at the provider", bob, alice, "sip:alice@" + providerHost, b, a, 0},
	} {
		begin := time.Now()
		c.caller.tell("dial", c.dialled)
		c.callee.hears(incoming)
		c.callee.tell("accept", "")
		c.callee.hears(established)
		c.caller.hears(established)
		out, in := c.from.awaitTrust(), c.to.awaitTrust()
		if out.SASWords != in.SASWords || out.SASCode != in.SASCode {
			t.Errorf("%s: the words differ: %q and %q", c.name, out.SASWords, in.SASWords)
		}
		if out.Direction != "outbound" || in.Direction != "inbound" {
			t.Errorf("%s: shown as %s and %s", c.name, out.Direction, in.Direction)
		}
		awaitTalk(t, shortTalk, a, b)
		t.Logf("%s: %s, %s", c.name, out.SASWords, out.Reason)
		if c.lasts > 0 {
			time.Sleep(time.Until(begin.Add(c.lasts)))
			unkept.judge()
		}
		// The BYE has to find the way that the INVITE came.
		c.callee.tell("hangup", "")
		c.callee.hears(closed)
		c.caller.hears(closed)
		c.from.awaitGone(out)
		c.to.awaitGone(in)
	}
	alice.quit()
	bob.quit()
	carol.quit()
	a.stop()
	b.stop()

	packets := tap.stop(provider.port, b.ports.outside)
	flows := capture.Flows(datagrams(packets))
	if len(flows) != 6 {
		t.Errorf("%d flows of media on the Internet, want two for each of three calls", len(flows))
	}
	talkers := []talker{{name: "Alice", voice: audio.Alice()}, {name: "Bob", voice: audio.Bob()}}
	for _, f := range flows {
		where := fmt.Sprintf("%v to %v", f.From, f.To)
		if bits := entropy(f.Payloads()); bits < 7.95 || uint64(len(f.Packets)) < shortTalk {
			t.Errorf("%s: %d packets with %.3f bits of entropy an octet: this is no conversation in ciphertext", where, len(f.Packets), bits)
		}
		judgeNoVoice(t, where, f.Payloads(), talkers)
	}
	for _, m := range messages(packets) {
		shown := m.text
		if m.kind() == "BYE" {
			// The phone proves its password again, and has hashed the address that
			// its own request names.
			for _, user := range []string{"alice", "bob", "carol"} {
				shown = strings.Replace(shown, `uri="sip:`+user+"@"+phoneHost, "", 1)
			}
		}
		if strings.Contains(shown, phoneHost) {
			t.Errorf("the Internet sees an address of the inside:\n%s", m.text)
		}
	}
	for p, voices := range map[*baresip][][]int16{
		alice: {audio.Bob(), audio.Bob(), audio.Bob()},
		bob:   {audio.Alice(), audio.Alice()},
		carol: {audio.Alice()},
	} {
		calls := p.recordings()
		if len(calls) != len(voices) {
			t.Errorf("%s made %d recordings, want %d", p.name, len(calls), len(voices))
			continue
		}
		for i, heard := range calls {
			judgeVoice(t, fmt.Sprintf("call %d at %s", i+1, p.name), heard, voices[i])
		}
	}
}

// unkept is a way through the router that nobody keeps open: what the router does
// with the others shows nothing unless this one is closed.
type unkept struct {
	t              *testing.T
	inside, beyond *net.UDPConn
	known          net.Addr // the way, as the Internet sees it
}

func newUnkept(t *testing.T, h home) *unkept {
	t.Helper()
	u := &unkept{t: t}
	listen := func(s *space) *net.UDPConn {
		var c *net.UDPConn
		if err := s.inside(func() (err error) {
			c, err = net.ListenUDP("udp4", nil)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	u.inside, u.beyond = listen(h.computer), listen(h.internet)
	to := &net.UDPAddr{IP: net.ParseIP(providerHost), Port: u.beyond.LocalAddr().(*net.UDPAddr).Port}
	if _, err := u.inside.WriteTo([]byte("out"), to); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 10)
	_ = u.beyond.SetReadDeadline(time.Now().Add(patience))
	var err error
	if _, u.known, err = u.beyond.ReadFrom(b); err != nil {
		t.Fatalf("the router lets nothing out: %v", err)
	}
	if err := u.back(patience); err != nil {
		t.Fatalf("the router lets no answer in: %v", err)
	}
	return u
}

// back sends a packet from the Internet and waits for it at home.
func (u *unkept) back(limit time.Duration) error {
	if _, err := u.beyond.WriteTo([]byte("back"), u.known); err != nil {
		return err
	}
	_ = u.inside.SetReadDeadline(time.Now().Add(limit))
	_, _, err := u.inside.ReadFrom(make([]byte, 10))
	return err
}

// judge wants the way to be closed.
func (u *unkept) judge() {
	u.t.Helper()
	if err := u.back(time.Second); !errors.Is(err, os.ErrDeadlineExceeded) {
		u.t.Errorf("the router still knows a way that nobody has kept open (%v): it shows nothing about keep-alives", err)
	}
}
