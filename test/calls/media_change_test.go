package calls

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/sip"
)

// offer changes the call by a method, and returns the final status and the answer.
func (p *phone) offer(method, body string) (string, string) {
	p.t.Helper()
	answer := make(chan [2]string, 1)
	p.do(func(d *sipDialog) {
		d.Do(method, "application/sdp", []byte(body), func(res *sip.Message, err error) {
			switch {
			case err != nil:
				answer <- [2]string{err.Error()}
			case res.Status >= 200:
				if res.Status < 300 {
					p.learn(res)
					if method == "INVITE" {
						d.Ack(res, "", nil)
					}
				}
				answer <- [2]string{itoa(res.Status), string(res.Body)}
			}
		})
	})
	got := <-answer
	synctest.Wait()
	return got[0], got[1]
}

// mediaLine is the port of an m-line in a description, and its section.
func mediaLine(t *testing.T, body, kind string) (port uint16, section string) {
	t.Helper()
	at := strings.Index(body, "m="+kind+" ")
	if at < 0 {
		t.Fatalf("no %s in\n%s", kind, body)
	}
	section = body[at:]
	if next := strings.Index(section[1:], "\r\nm="); next >= 0 {
		section = section[:next+3]
	}
	n, err := strconv.Atoi(strings.Fields(section)[1])
	if err != nil {
		t.Fatal(err)
	}
	return uint16(n), section
}

// What phones change in a call, by either method, with new keys every few seconds
// beside it. Keys and numbers go on.
func TestPhonesChangeTheMedia(t *testing.T) {
	t.Parallel()
	const video = "m=video 4100 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=sendrecv\r\n"
	type step struct {
		name, alice, bob string // their bodies are changed so
		at               string // what bob has to see
	}
	hold := func(s string) string { return strings.Replace(phoneSDP(alicePhone.Addr(), 4000), "a=sendrecv", s, 1) }
	heldBy := func(s string) string { return strings.Replace(phoneSDP(bobPhone.Addr(), 4000), "a=sendrecv", s, 1) }
	plain, answer := phoneSDP(alicePhone.Addr(), 4000), phoneSDP(bobPhone.Addr(), 4000)
	rejected := strings.Replace(video, "4100", "0", 1)
	codec := func(s string) string {
		return strings.Replace(strings.Replace(s, "RTP/AVP 0", "RTP/AVP 8", 1), "a=rtpmap:0 PCMU", "a=rtpmap:8 PCMA", 1)
	}
	steps := []step{
		{"hold", hold("a=sendonly"), heldBy("a=recvonly"), "a=sendonly"},
		{"hold again", hold("a=sendonly"), heldBy("a=recvonly"), "a=sendonly"},
		{"resume", plain, answer, "a=sendrecv"},
		{"listen only", hold("a=recvonly"), heldBy("a=sendonly"), "a=recvonly"},
		{"neither", hold("a=inactive"), heldBy("a=inactive"), "a=inactive"},
		{"old hold", strings.Replace(plain, "c=IN IP4 "+alicePhone.Addr().String(), "c=IN IP4 0.0.0.0", 1), answer, "c=IN IP4 0.0.0.0"},
		{"resume", plain, answer, "a=sendrecv"},
		{"codec", codec(plain), codec(answer), "RTP/AVP 8"},
		{"add video", plain + video, answer + video, "m=video"},
		{"remove video", plain + rejected, answer + rejected, "m=video 0"},
		{"add video again", plain + video, answer + video, "H264"},
		{"hold both", hold("a=sendonly") + strings.Replace(video, "a=sendrecv", "a=sendonly", 1), heldBy("a=recvonly") + strings.Replace(video, "a=sendrecv", "a=recvonly", 1), "a=sendonly"},
		{"resume both", plain + video, answer + video, "a=sendrecv"},
		{"other port", strings.Replace(plain, "m=audio 4000", "m=audio 4200", 1) + video, answer + video, "m=audio"},
	}
	for _, method := range []string{"INVITE", "UPDATE"} {
		for _, keys := range []bool{false, true} {
			t.Run(method+" keys "+strconv.FormatBool(keys), func(t *testing.T) {
				t.Parallel()
				o := worldOptions{net: memnet.Options{Delay: 10 * time.Millisecond}}
				if keys {
					o = rekeying(o.net, b2bua.Rekey{Every: 3 * time.Second}, b2bua.Rekey{})
				}
				inBubble(t, o, func(t *testing.T, w *world) {
					clear, r := w.tapClear(), w.countRekeyings()
					screens := []net.PacketConn{w.listen(netip.AddrPortFrom(alicePhone.Addr(), 4100)), w.listen(netip.AddrPortFrom(bobPhone.Addr(), 4100))}
					moved := w.listen(netip.AddrPortFrom(alicePhone.Addr(), 4200))
					defer moved.Close()
					for _, s := range screens {
						defer s.Close()
					}
					w.up()
					w.talk(10)
					before, _ := w.views()
					for _, s := range steps {
						time.Sleep(2300 * time.Millisecond)
						w.bob.body = func() []byte { return []byte(s.bob) }
						status, got := w.alice.offer(method, s.alice)
						for status == "491" { // by chance both spoke at once: phones try again
							time.Sleep(700 * time.Millisecond)
							status, got = w.alice.offer(method, s.alice)
						}
						if status != "200" {
							t.Fatalf("%s: %s", s.name, status)
						}
						seen := string(w.bob.reinvited.Body)
						if !strings.Contains(seen, s.at) || strings.Contains(seen, alicePhone.Addr().String()) || strings.Contains(seen, "dh-") {
							t.Errorf("%s: bob got\n%s", s.name, seen)
						}
						if strings.Contains(got, bobPhone.Addr().String()) || strings.Contains(got, "dh-") || strings.Count(got, "m=") != strings.Count(s.alice, "m=") {
							t.Errorf("%s: alice got\n%s", s.name, got)
						}
						if strings.Contains(s.alice, "m=video 4100") && !strings.HasPrefix(s.name, "hold") {
							toA, _ := mediaLine(t, got, "video")
							toB, _ := mediaLine(t, seen, "video")
							w.watch(screens, []netip.AddrPort{netip.AddrPortFrom(insideA.Addr(), toA), netip.AddrPortFrom(insideB.Addr(), toB)}, s.name)
						}
						if s.alice == plain {
							if b, a := w.talk(10); b != 10 || a != 10 {
								t.Errorf("%s: bob heard %d, alice %d of 10", s.name, b, a)
							}
						}
					}
					w.bob.say(10, 100, 0xB2)
					time.Sleep(100 * time.Millisecond)
					moved.SetReadDeadline(time.Now().Add(time.Millisecond))
					if _, _, err := moved.ReadFrom(make([]byte, 2000)); err != nil {
						t.Errorf("at the other port: %v", err)
					}
					va, vb := w.views()
					if va.SASWords != before.SASWords || vb.SASWords != before.SASWords || va.Protection != "srtp" || *clear != 0 || unheard(va, vb) != 0 {
						t.Errorf("%+v\n%+v, %d in clear", va, vb, *clear)
					}
					if keys != (r.settled().acks > 10) {
						t.Errorf("%d rekeyings", r.settled().acks)
					}
				})
			})
		}
	}
}

// watch sends a picture from each screen and looks for it on the other.
func (w *world) watch(screens []net.PacketConn, to []netip.AddrPort, when string) {
	w.t.Helper()
	buf := make([]byte, 2000)
	for i, s := range screens {
		s.SetReadDeadline(time.Now().Add(time.Millisecond))
		for {
			if _, _, err := s.ReadFrom(buf); err != nil {
				break
			}
		}
		w.seq++
		pkt := make([]byte, 300)
		pkt[0], pkt[1], pkt[2], pkt[3], pkt[11] = 0x80, 96, byte(w.seq>>8), byte(w.seq), byte(i+1)
		other := screens[1-i]
		for n := 0; ; n++ {
			s.WriteTo(pkt, net.UDPAddrFromAddrPort(to[i]))
			other.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			if got, _, err := other.ReadFrom(buf); err == nil && got == len(pkt) {
				break
			}
			if n == 3 {
				w.t.Errorf("%s: no picture from screen %d", when, i)
				return
			}
			w.seq++
			pkt[2], pkt[3] = byte(w.seq>>8), byte(w.seq)
		}
	}
}
