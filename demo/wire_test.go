package demo

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/demo/audio"
	"github.com/sipward/sipward/demo/capture"
	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sas"
)

// inMemory are places on a network in memory.
func inMemory() places {
	at := func(n byte) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, n}) }
	return places{at(1), at(2), at(3), at(4), at(5), at(6), at(7), at(8)}
}

// staged runs one whole call in memory and gives what the wire saw.
func staged(t *testing.T, p plan, f func(t *testing.T, s *stage, talk talk, seen *capture.Recorder)) {
	synctest.Test(t, func(t *testing.T) {
		memory := memnet.New(memnet.Options{Seed: 7, Delay: 3 * time.Millisecond})
		defer memory.Close()
		n := &counted{Network: memory}
		seen := capture.NewRecorder(capture.Limits{})
		p.network, p.places = n, inMemory()
		p.tap = func(s Sighting) {
			if s.Kind == RTP && !s.Sent {
				seen.UDP(s.Time, s.From, s.To, s.Data)
			}
		}
		s, err := newStage(p)
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		talk, err := s.call(t.Context(), p.mode != policy.Off && p.modeB != policy.Off, time.Second, func(string) {})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(talk.b.Heard(), overLine(audio.Alice())) || !slices.Equal(talk.a.Heard(), overLine(audio.Bob())) {
			t.Errorf("what was heard is not what was played: %d and %d packets sent, %d and %d heard",
				talk.a.PacketsSent(), talk.b.PacketsSent(), talk.b.PacketsHeard(), talk.a.PacketsHeard())
		}
		f(t, s, talk, seen)
		s.close()
		if open := n.open.Load(); open != 0 {
			t.Errorf("%d sockets are left", open)
		}
	})
}

// counted counts the sockets that are open.
type counted struct {
	Network
	open atomic.Int64
}

func (n *counted) ListenPacket(a netip.AddrPort) (net.PacketConn, error) {
	c, err := n.Network.ListenPacket(a)
	if err != nil {
		return nil, err
	}
	n.open.Add(1)
	return &countedConn{PacketConn: c, n: n}, nil
}

type countedConn struct {
	net.PacketConn
	n    *counted
	once sync.Once
}

func (c *countedConn) Close() error {
	c.once.Do(func() { c.n.open.Add(-1) })
	return c.PacketConn.Close()
}

func TestWireHearsNothing(t *testing.T) {
	t.Parallel()
	staged(t, plan{}, func(t *testing.T, s *stage, talk talk, seen *capture.Recorder) {
		if sasText(talk.viewA) == "" || sasText(talk.viewA) != sasText(talk.viewB) {
			t.Errorf("%q and %q", sasText(talk.viewA), sasText(talk.viewB))
		}
		packets, plain := tapped(talk, seen)
		if want := talk.a.PacketsSent() + talk.b.PacketsSent(); packets != want || plain != 0 {
			t.Errorf("tapped %d packets of %d, %d of them readable", packets, want, plain)
		}
		if a, b := s.wire.Attributes(LinkA), s.wire.Attributes(LinkB); a != b || a.Init == "" || a.Resp == "" || a.Fin == "" {
			t.Errorf("attributes %+v and %+v", a, b)
		}
		// An unmodified phone never meets anything of the exchange.
		for _, p := range []*Phone{s.alice, s.bob} {
			for _, m := range p.Seen() {
				if text := strings.ToLower(string(m.Bytes())); strings.Contains(text, "dh-") {
					t.Errorf("a phone got %s", text)
				}
			}
		}
	})
}

// The same wiretap hears everything when nothing is encrypted: it is not deaf.
func TestWireHearsPlainCalls(t *testing.T) {
	t.Parallel()
	staged(t, plan{mode: policy.Off}, func(t *testing.T, s *stage, talk talk, seen *capture.Recorder) {
		packets, plain := tapped(talk, seen)
		// A few packets between two words are silent in whole.
		if want := talk.a.PacketsSent() + talk.b.PacketsSent(); packets != want || plain < want*7/10 {
			t.Errorf("tapped %d packets of %d, %d of them readable", packets, want, plain)
		}
		for _, played := range [][]int16{audio.Alice(), audio.Bob()} {
			best := 0.0
			for _, f := range seen.Flows() {
				var pcm []int16
				for _, p := range f.Payloads() {
					pcm = append(pcm, audio.DecodeMuLaw(p)...)
				}
				score, _ := audio.Correlate(pcm, played)
				best = max(best, score)
			}
			if best < 0.95 {
				t.Errorf("the wiretap matches by %v", best)
			}
		}
		if a := s.wire.Attributes(LinkA); a != (Attributes{}) {
			t.Errorf("attributes %+v in a plain call", a)
		}
		if invite, answer, ack := s.wire.Added(); invite+answer+ack != 0 {
			t.Errorf("added %v %v %v to a plain call", invite, answer, ack)
		}
	})
}

// What x25519 costs, octet by octet.
func TestWireMeasures(t *testing.T) {
	t.Parallel()
	staged(t, plan{}, func(t *testing.T, s *stage, _ talk, _ *capture.Recorder) {
		at := s.wire.Attributes(LinkA)
		invite, answer, ack := s.wire.Added()
		line := func(name, value string) int { return len("a=" + name + ":" + value + "\r\n") }
		supported, require := len("Supported: dh-srtp\r\n"), len("Require: dh-srtp\r\n")
		for _, c := range []struct {
			name      string
			got, want int
		}{
			// Beside 100rel, which is an extension of its own.
			{"INVITE", invite, line("dh-init", at.Init) + len("dh-srtp, ") + require},
			{"2xx", answer, line("dh-resp", at.Resp) + supported},
			// From "Content-Length: 0" to two digits.
			{"ACK", ack, line("dh-fin", at.Fin) + len("c: application/dh-sdpfrag\r\nContent-Disposition: session;handling=optional\r\n") + 1 + require},
		} {
			if c.got != c.want {
				t.Errorf("%s: %+v, want %+v", c.name, c.got, c.want)
			}
		}
		if invite > 256 || answer > 160 || ack > 160 {
			t.Errorf("too much: %v %v %v", invite, answer, ack)
		}
	})
}

func TestAdded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, with, without string
	}{
		{"a plain message", "INVITE sip:b SIP/2.0\r\nSupported: 100rel\r\nContent-Length: 5\r\n\r\nv=0\r\n", "INVITE sip:b SIP/2.0\r\nSupported: 100rel\r\nContent-Length: 5\r\n\r\nv=0\r\n"},
		{"beside another tag", "INVITE sip:b SIP/2.0\r\nSupported: 100rel, dh-srtp\r\nContent-Length: 0\r\n\r\n", "INVITE sip:b SIP/2.0\r\nSupported: 100rel\r\nContent-Length: 0\r\n\r\n"},
		{"compact names", "ACK sip:b SIP/2.0\r\nk: dh-srtp\r\nc: application/dh-sdpfrag\r\nl: 12\r\n\r\na=dh-fin:1\r\n", "ACK sip:b SIP/2.0\r\nl: 0\r\n\r\n"},
		{"a demand", "INVITE sip:b SIP/2.0\r\nRequire: dh-srtp\r\nContent-Length: 0\r\n\r\n", "INVITE sip:b SIP/2.0\r\nContent-Length: 0\r\n\r\n"},
		{"a header field", "INVITE sip:b SIP/2.0\r\nDH-Init: 1 x\r\nContent-Length: 0\r\n\r\n", "INVITE sip:b SIP/2.0\r\nContent-Length: 0\r\n\r\n"},
		{"a third digit", "SIP/2.0 200 OK\r\nContent-Length: 102\r\n\r\n" + strings.Repeat("a=x:yzuvw\r\n", 8) + "a=dh-resp:1\r\n\n", "SIP/2.0 200 OK\r\nContent-Length: 89\r\n\r\n" + strings.Repeat("a=x:yzuvw\r\n", 8) + "\n"},
	} {
		if got, want := added([]byte(c.with)), len(c.with)-len(c.without); got != want {
			t.Errorf("%s: %+v, want %+v", c.name, got, want)
		}
	}
}

func TestMitmIsVisible(t *testing.T) {
	t.Parallel()
	for i := range 50 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			staged(t, plan{mitm: true}, func(t *testing.T, s *stage, talk talk, seen *capture.Recorder) {
				if sasText(talk.viewA) == sasText(talk.viewB) || talk.viewA.SASCode == "" || talk.viewB.SASCode == "" {
					t.Errorf("%q and %q", sasText(talk.viewA), sasText(talk.viewB))
				}
				if talk.viewA.Trust != "encrypted" || talk.viewB.Trust != "encrypted" {
					t.Errorf("trust %q and %q", talk.viewA.Trust, talk.viewB.Trust)
				}
				if !slices.Equal(s.mitm.Overheard(LinkA), overLine(audio.Alice())) || !slices.Equal(s.mitm.Overheard(LinkB), overLine(audio.Bob())) || s.mitm.Failures() != 0 {
					t.Errorf("he did not hear everything; %d failures", s.mitm.Failures())
				}
				if _, plain := tapped(talk, seen); plain != 0 {
					t.Errorf("%d readable packets on the wire", plain)
				}
				a, b := s.wire.Attributes(LinkA), s.wire.Attributes(LinkB)
				if a.Init == b.Init || a.Resp == b.Resp || a.Fin == b.Fin {
					t.Errorf("attributes %+v and %+v", a, b)
				}
			})
		})
	}
}

// Where bob's sipward takes no exchange there is nobody to deceive: the man in
// the middle lets the plain call pass.
func TestMitmLeavesPlainCallsAlone(t *testing.T) {
	t.Parallel()
	staged(t, plan{mitm: true, mode: policy.Prefer, modeB: policy.Off}, func(t *testing.T, s *stage, talk talk, seen *capture.Recorder) {
		if talk.viewA.Protection != "none" || talk.viewB.Protection != "none" || s.mitm.Failures() != 0 {
			t.Errorf("protection %q and %q, %d failures", talk.viewA.Protection, talk.viewB.Protection, s.mitm.Failures())
		}
		if _, ok := s.mitm.SAS(LinkA); ok {
			t.Error("he has a string without an exchange")
		}
	})
}

// He knows what both sipwards show.
func TestMitmKnowsBothStrings(t *testing.T) {
	t.Parallel()
	staged(t, plan{mitm: true}, func(t *testing.T, s *stage, talk talk, _ *capture.Recorder) {
		for link, view := range map[Link]string{LinkA: talk.viewA.SASCode, LinkB: talk.viewB.SASCode} {
			octets, ok := s.mitm.SAS(link)
			if !ok || sas.Code(octets) != view {
				t.Errorf("%q, the sipward shows %q", sas.Code(octets), view)
			}
		}
	})
}
