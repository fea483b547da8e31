package sdp

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

var (
	own4 = netip.MustParseAddr("203.0.113.219")
	own6 = netip.MustParseAddr("2001:db8:ffff::219")
)

// TestApply shows, a section at a time, what goes in and what comes out.
func TestApply(t *testing.T) {
	t.Parallel()
	at := func(ports ...Port) Rewrite { return Rewrite{Addr: own4, Ports: ports} }
	at6 := func(ports ...Port) Rewrite { return Rewrite{Addr: own6, Ports: ports} }
	keyless := func(ports ...Port) Rewrite { return Rewrite{Addr: own4, Ports: ports, DropKeying: true} }
	p := Port{RTP: 4000, RTCP: 4001}
	for _, c := range []struct {
		name, in, out string
		r             Rewrite
	}{
		{"plain",
			crlf("v=0", "o=- 1 2 IN IP4 10.0.0.1", "c=IN IP4 10.0.0.1", "m=audio 5 RTP/AVP 0"),
			crlf("v=0", "o=- 1 2 IN IP4 203.0.113.219", "c=IN IP4 203.0.113.219", "m=audio 4000 RTP/AVP 0"), at(p)},
		{"to IPv6",
			crlf("o=- 1 2 IN IP4 10.0.0.1", "c=IN IP4 10.0.0.1", "m=audio 5 RTP/AVP 0", "a=rtcp:6 IN IP4 10.0.0.1"),
			crlf("o=- 1 2 IN IP6 2001:db8:ffff::219", "c=IN IP6 2001:db8:ffff::219", "m=audio 4000 RTP/AVP 0", "a=rtcp:4001 IN IP6 2001:db8:ffff::219"), at6(p)},
		{"to IPv4",
			crlf("o=- 1 2 IN IP6 fd00::1", "c=IN IP6 fd00::1", "m=audio 5 RTP/AVP 0", "a=X-also:IN IP6 FD00:0::1"),
			crlf("o=- 1 2 IN IP4 203.0.113.219", "c=IN IP4 203.0.113.219", "m=audio 4000 RTP/AVP 0", "a=X-also:IN IP4 203.0.113.219"), at(p)},
		{"own address mapped into IPv6",
			crlf("c=IN IP4 10.0.0.1", "m=audio 5 RTP/AVP 0"),
			crlf("c=IN IP4 203.0.113.219", "m=audio 4000 RTP/AVP 0"), Rewrite{Addr: netip.MustParseAddr("::ffff:203.0.113.219"), Ports: []Port{p}}},
		{"hold keeps its place in either family",
			crlf("c=IN IP4 0.0.0.0", "m=audio 5 RTP/AVP 0", "a=rtcp:6 IN IP4 0.0.0.0", "m=audio 7 RTP/AVP 0", "c=IN IP4 10.0.0.1", "a=rtcp:9 IN IP4 0.0.0.0"),
			crlf("c=IN IP6 ::", "m=audio 4000 RTP/AVP 0", "a=rtcp:4001 IN IP6 ::", "m=audio 4002 RTP/AVP 0", "c=IN IP6 2001:db8:ffff::219", "a=rtcp:4003 IN IP6 2001:db8:ffff::219"),
			at6(p, Port{RTP: 4002})},
		{"TTL, count, doubled c=",
			crlf("c=IN IP4 224.2.1.1/127", "m=audio 50/2 RTP/AVP 0", "c=IN IP4 224.2.1.4/127/3", "c=IN IP6 FF15::101/3", "m=video 60/1 RTP/AVP 31"),
			crlf("c=IN IP4 203.0.113.219", "m=audio 4000 RTP/AVP 0", "c=IN IP4 203.0.113.219", "m=video 4002/1 RTP/AVP 31"), at(p, Port{RTP: 4002})},
		{"no c= anywhere, behind i=, no final line end",
			"v=0\r\nm=audio 5 RTP/AVP 0\r\ni=x\r\na=y\r\nm=video 6 RTP/AVP 31",
			crlf("v=0", "m=audio 4000 RTP/AVP 0", "i=x", "c=IN IP4 203.0.113.219", "a=y", "m=video 0 RTP/AVP 31", "c=IN IP4 203.0.113.219"), at(p, Port{})},
		{"rejected stays rejected, refused becomes so",
			crlf("c=IN IP4 10.0.0.1", "m=audio 0 RTP/AVP 0", "a=rtcp:9 IN IP4 10.0.0.1", "m=video 5/2 RTP/AVP 31", "a=rtcp:6", "a=sendrecv"),
			crlf("c=IN IP4 203.0.113.219", "m=audio 0 RTP/AVP 0", "m=video 0 RTP/AVP 31", "a=sendrecv"), at(p, Port{})},
		{"RTCP elsewhere",
			crlf("c=IN IP4 10.0.0.1", "m=audio 5 RTP/AVP 0", "a=x", "", "m=video 7 RTP/AVP 31", "a=rtcp:5005", "m=image 9 udptl t38"),
			crlf("c=IN IP4 203.0.113.219", "m=audio 4000 RTP/AVP 0", "a=x", "a=rtcp:5000", "", "m=video 4002 RTP/AVP 31", "a=rtcp:5002", "m=image 4004 udptl t38"),
			at(Port{RTP: 4000, RTCP: 5000}, Port{RTP: 4002, RTCP: 5002}, Port{RTP: 4004, RTCP: 5004})},
		{"muxed, and no longer muxed",
			crlf("c=IN IP4 10.0.0.1", "a=rtcp:1", "m=audio 5 RTP/AVP 0", "m=audio 7 RTP/AVP 0", "a=rtcp-mux", "a=rtcp-mux-only", "a=rtcp-rsize", "m=video 9 RTP/AVP 31", "a=rtcp-mux", "a=rtcp:9"),
			crlf("c=IN IP4 203.0.113.219", "m=audio 4000 RTP/AVP 0", "a=rtcp-mux", "m=audio 4002 RTP/AVP 0", "a=rtcp-rsize", "m=video 4004 RTP/AVP 31", "a=rtcp-mux", "a=rtcp:4004"),
			at(Port{RTP: 4000, Mux: true}, Port{RTP: 4002}, Port{RTP: 4004, Mux: true})},
		{"bundling and ICE go, other groups stay",
			crlf("a=group:BUNDLE a b", "a=group:LS a b", "a=ice-lite", "m=audio 5 RTP/AVP 0", "c=IN IP4 10.0.0.1", "a=mid:a", "a=candidate:1 1 udp 1 10.0.0.2 5 typ host",
				"a=Candidate:1 2 udp 1 10.0.0.2 6 typ host", "a=ice-pwd:x", "a=x-candidate-ipv6:1 fd00::2", "m=video 0 RTP/AVP 31", "a=bundle-only"),
			crlf("a=group:LS a b", "m=audio 4000 RTP/AVP 0", "c=IN IP4 203.0.113.219", "a=mid:a", "m=video 0 RTP/AVP 31", "c=IN IP4 203.0.113.219"), at(p, Port{})},
		{"addresses in carried lines",
			crlf("s=10.0.0.1", "c=IN IP4 10.0.0.1", "u=http://10.0.0.1:80/", "m=audio 5 RTP/AVP 0", "a=ssrc:1 cname:a@10.0.0.1", "a=10.0.0.1:yes", "a=x:10.0.0.11 110.0.0.1 10.0.0.1.", "a=y:_010.000.000.001_", "a=candidate:1 1 udp 1 10.9.9.9 5 typ host", "a=z:10.9.9.9"),
			crlf("s=203.0.113.219", "c=IN IP4 203.0.113.219", "u=http://203.0.113.219:80/", "m=audio 4000 RTP/AVP 0", "a=ssrc:1 cname:a@203.0.113.219", "a=203.0.113.219:yes", "a=x:10.0.0.11 110.0.0.1 203.0.113.219.", "a=y:_203.0.113.219_", "a=z:203.0.113.219"), at(p)},
		{"brackets",
			crlf("c=IN IP4 10.0.0.1", "u=http://10.0.0.1:80/", "e=a@10.0.0.1", "m=audio 5 RTP/AVP 0", "a=x:IP4 10.0.0.1 5"),
			crlf("c=IN IP6 2001:db8:ffff::219", "u=http://[2001:db8:ffff::219]:80/", "e=a@[2001:db8:ffff::219]", "m=audio 4000 RTP/AVP 0", "a=x:IP6 2001:db8:ffff::219 5"), at6(p)},
		{"no brackets",
			crlf("c=IN IP6 fd00::1", "u=http://[fd00::1]:80/", "m=audio 5 RTP/AVP 0", "a=x:fd00::1", "a=bind:FD00:0:0::1%eth0.4 fd00::12 fd00::1:2:3:4:5:6:7:8"),
			crlf("c=IN IP4 203.0.113.219", "u=http://203.0.113.219:80/", "m=audio 4000 RTP/AVP 0", "a=x:203.0.113.219", "a=bind:203.0.113.219 fd00::12 203.0.113.219:2:3:4:5:6:7:8"), at(p)},
		{"names",
			crlf("o=- 1 1 IN IP4 a.lan", "s=b.lan", "c=IN IP4 B.lan", "m=audio 5 RTP/AVP 0", "a=x:IN IP4 b.LAN. and bb.lan", "a=cname:u@a.lan"),
			crlf("o=- 1 1 IN IP4 203.0.113.219", "s=b.lan", "c=IN IP4 203.0.113.219", "m=audio 4000 RTP/AVP 0", "a=x:IN IP4 203.0.113.219. and bb.lan", "a=cname:u@203.0.113.219"), at(p)},
		{"networks to hide",
			crlf("s=172.16.9.9 192.168.1.1", "c=IN IP4 10.0.0.1", "m=audio 5 RTP/AVP 0", "a=v6:fd12::9"),
			crlf("s=203.0.113.219 192.168.1.1", "c=IN IP4 203.0.113.219", "m=audio 4000 RTP/AVP 0", "a=v6:203.0.113.219"),
			Rewrite{Addr: own4, Ports: []Port{p}, Hide: []netip.Prefix{netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("fd00::/8"), netip.MustParsePrefix("203.0.113.0/24")}}},
		{"origin fields",
			crlf("o=Some One 1  2 IN IP4 10.0.0.1", "m=audio 5 RTP/AVP 0", "c=IN IP4 10.0.0.1"),
			crlf("o=proxy 77  78 IN IP4 203.0.113.219", "m=audio 4000 RTP/AVP 0", "c=IN IP4 203.0.113.219"),
			Rewrite{Addr: own4, Ports: []Port{p}, OriginUser: "proxy", SessionID: "77", SessionVersion: "78"}},
		{"origin too short",
			crlf("o=me 10.0.0.1", "o=", "o=10.0.0.1 5 IN IP4", "m=audio 5 RTP/AVP 0", "c=IN IP4 10.0.0.1"),
			crlf("o=me 0 9 IN IP4 203.0.113.219", "o=- 0 9 IN IP4 203.0.113.219", "o=203.0.113.219 5 9 IN IP4 203.0.113.219", "m=audio 4000 RTP/AVP 0", "c=IN IP4 203.0.113.219"),
			Rewrite{Addr: own4, Ports: []Port{p}, SessionVersion: "9"}},
		{"telephone networks stay",
			crlf("c=PSTN E164 +15550100", "m=audio 9 PSTN -", "m=audio 5 RTP/AVP 0", "c=IN IP4 10.0.0.1"),
			crlf("c=PSTN E164 +15550100", "m=audio 0 PSTN -", "m=audio 4000 RTP/AVP 0", "c=IN IP4 203.0.113.219"), at(Port{}, p)},
		{"a port that cannot be one is no rejection",
			crlf("c=IN IP4 10.0.0.1", "m=audio 99999 RTP/AVP 0", "m=audio"),
			crlf("c=IN IP4 203.0.113.219", "m=audio 4000 RTP/AVP 0", "m=audio"), at(p, p)},
		{"keying stays where it may",
			crlf("c=IN IP4 10.0.0.1", "k=prompt", "m=audio 5 RTP/SAVP 0", "a=crypto:1 S inline:K", "a=setup:actpass"),
			crlf("c=IN IP4 203.0.113.219", "k=prompt", "m=audio 4000 RTP/SAVP 0", "a=crypto:1 S inline:K", "a=setup:actpass"), at(p)},
		{"keying goes",
			crlf("c=IN IP4 10.0.0.1", "k=prompt", "a=setup:actpass", "a=fingerprint:sha-1 00", "m=audio 5 RTP/SAVP 0", "k=clear:x", "a=crypto:1 S inline:K", "a=zrtp-hash:1.10 0", "a=setup:actpass", "a=x",
				"m=image 6 TCP t38", "a=setup:active", "m=application 7 UDP/BFCP *", "a=setup:active", "m=application 8 TCP/TLS/BFCP *", "a=setup:active"),
			crlf("c=IN IP4 203.0.113.219", "m=audio 4000 RTP/SAVP 0", "a=x", "m=image 0 TCP t38", "a=setup:active", "m=application 0 UDP/BFCP *", "a=setup:active", "m=application 0 TCP/TLS/BFCP *"),
			keyless(p, Port{}, Port{}, Port{})},
		{"capabilities that held keys go, with what names them",
			crlf("c=IN IP4 10.0.0.1", "m=audio 5 RTP/AVP 0", "a=tcap:1 RTP/SAVP", "a=acap:1 crypto:1 S inline:K", "a=acap:2 ptime:30", "a=pcfg:1 t=1 a=1,2"),
			crlf("c=IN IP4 203.0.113.219", "m=audio 4000 RTP/AVP 0", "a=tcap:1 RTP/SAVP", "a=acap:2 ptime:30"), keyless(p)},
		{"capabilities without keys stay",
			crlf("c=IN IP4 10.0.0.1", "m=audio 5 RTP/AVP 0", "a=acap:1 ptime:30", "a=ccap:1 IN IP4 10.0.0.7", "a=pcfg:1 a=1"),
			crlf("c=IN IP4 203.0.113.219", "m=audio 4000 RTP/AVP 0", "a=acap:1 ptime:30", "a=ccap:1 IN IP4 203.0.113.219", "a=pcfg:1 a=1"), keyless(p)},
		{"the exchange is not touched",
			crlf("c=IN IP4 10.0.0.1", "a=dh-sig:ed25519 K sip:a@10.0.0.1 S", "m=audio 5 RTP/AVP 0", "a=dh-init:1 10.0.0.1"),
			crlf("c=IN IP4 203.0.113.219", "a=dh-sig:ed25519 K sip:a@10.0.0.1 S", "m=audio 4000 RTP/AVP 0", "a=dh-init:1 10.0.0.1"), at(p)},
		{"a CR alone hides nothing",
			"c=IN IP4 10.0.0.1\nm=audio 5 RTP/AVP 0\na=x\rc=IN IP4 10.6.6.6\ra=y\n",
			"c=IN IP4 203.0.113.219\nm=audio 4000 RTP/AVP 0\na=x\rc=IN IP4 203.0.113.219\ra=y\n", at(p)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := parse(t, c.in)
			if err := s.Apply(c.r); err != nil {
				t.Fatal(err)
			}
			if got := string(s.Bytes()); got != c.out {
				t.Errorf("\n got %q\nwant %q", got, c.out)
			}
			again := parse(t, string(s.Bytes()))
			if err := again.Apply(c.r); err != nil || string(again.Bytes()) != c.out {
				t.Errorf("a second time: %v\n got %q\nwant %q", err, again.Bytes(), c.out)
			}
		})
	}
}

func TestApplyRefuses(t *testing.T) {
	t.Parallel()
	one := []Port{{RTP: 4000}}
	for _, c := range []struct {
		name string
		r    Rewrite
		want error
	}{
		{"no address", Rewrite{Ports: one}, ErrNoAddress},
		{"no ports", Rewrite{Addr: own4}, ErrPorts},
		{"too many ports", Rewrite{Addr: own4, Ports: make([]Port, 2)}, ErrPorts},
		{"negative port", Rewrite{Addr: own4, Ports: []Port{{RTP: -1}}}, ErrPorts},
		{"port too large", Rewrite{Addr: own4, Ports: []Port{{RTP: 65536}}}, ErrPorts},
		{"no room for RTCP", Rewrite{Addr: own4, Ports: []Port{{RTP: 65535}}}, ErrPorts},
		{"user of two words", Rewrite{Addr: own4, Ports: one, OriginUser: "a b"}, ErrOrigin},
		{"id with a line end", Rewrite{Addr: own4, Ports: one, SessionID: "1\r\nm=x"}, ErrOrigin},
		{"version with a tab", Rewrite{Addr: own4, Ports: one, SessionVersion: "1\t2"}, ErrOrigin},
	} {
		s := fixture(t, "desk-audio.sdp")
		before := string(s.Bytes())
		if err := s.Apply(c.r); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if string(s.Bytes()) != before {
			t.Errorf("%s: changed all the same", c.name)
		}
	}
}

// A result larger than Parse takes is refused: each short address grows.
func TestApplyGrowth(t *testing.T) {
	t.Parallel()
	s := parse(t, "c=IN IP4 1.1.1.1\r\ns="+strings.Repeat("1.1.1.1 ", 8000))
	before := string(s.Bytes())
	if err := s.Apply(Rewrite{Addr: own6}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%v", err)
	}
	if string(s.Bytes()) != before {
		t.Error("changed all the same")
	}
}

// Sources that have other numbers on the other leg go, and with them the name
// of the user and of the host; what only looks alike stays.
func TestDropSources(t *testing.T) {
	t.Parallel()
	in := crlf("v=0", "c=IN IP4 10.0.0.1", "a=ssrc:9 cname:b@desk.lan", "m=audio 5 RTP/AVP 0", "a=ssrc:1 cname:a@desk.lan", "a=ssrc:1 msid:x y",
		"a=ssrc-group:FID 1 2", "a=cname:a@desk.lan", "a=ssrcs:1", "a=msid:x y")
	for drop, want := range map[bool]string{
		false: strings.Replace(in, "10.0.0.1", "203.0.113.219", 1),
		true:  crlf("v=0", "c=IN IP4 203.0.113.219", "m=audio 5 RTP/AVP 0", "a=ssrcs:1", "a=msid:x y"),
	} {
		s, err := Parse([]byte(in))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Apply(Rewrite{Addr: netip.MustParseAddr("203.0.113.219"), Ports: []Port{{RTP: 5}}, DropSources: drop}); err != nil {
			t.Fatal(err)
		}
		if got := string(s.Bytes()); got != want {
			t.Errorf("drop %v:\n%q\n%q", drop, got, want)
		}
	}
}
