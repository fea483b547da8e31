package calls

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/demo/memnet"
)

// comers are further ways than leads in which a phone inside comes to a call with
// somebody outside whom it did not call. Each returns the two, and the house of the first.
var comers = map[string]func(t *testing.T, w *world, carol, dave *phone) (comes, far *phone, at *house){
	"blind, by who was called": func(t *testing.T, w *world, carol, dave *phone) (*phone, *phone, *house) {
		w.up()
		time.Sleep(time.Second)
		if got := w.bob.refer("<sip:dave@b.example>"); got != "202" {
			t.Fatalf("REFER: %s", got)
		}
		w.bob.await("told SIP/2.0 200")
		return dave, w.alice, w.b
	},
	"blind, forwarded by the target": func(t *testing.T, w *world, carol, dave *phone) (*phone, *phone, *house) {
		carol.redirects("<sip:erin@a.example>")
		erin := w.phone("erin", erinPhone, insideA, func(p *phone) { p.body = described(p) })
		t.Cleanup(erin.close)
		w.up()
		time.Sleep(time.Second)
		if got := w.alice.refer("<sip:carol@a.example>"); got != "202" {
			t.Fatalf("REFER: %s", got)
		}
		w.alice.await("told SIP/2.0 200")
		return erin, w.bob, w.a
	},
	"3xx, who is called": func(t *testing.T, w *world, carol, dave *phone) (*phone, *phone, *house) {
		w.bob.redirects("<sip:dave@b.example>")
		w.alice.call("sip:bob@b.example")
		w.alice.await("answered")
		dave.await("acked")
		return dave, w.alice, w.b
	},
	"3xx, to the outside": func(t *testing.T, w *world, carol, dave *phone) (*phone, *phone, *house) {
		dave.redirects("<sip:alice@a.example>")
		w.bob.call("sip:dave@b.example")
		w.bob.await("answered")
		w.alice.await("acked")
		return w.bob, w.alice, w.b
	},
}

var erinPhone = netip.MustParseAddrPort("10.1.0.7:5060") // at house A

// described is a description that tells of its phone.
func described(p *phone) func() []byte {
	plain := p.body
	return func() []byte {
		return append(plain(), "a=ssrc:7 cname:"+p.name+"@desk7.lan\r\na=ssrc:7 label:x\r\na=x-host:"+p.lis.Local().Addr().String()+"\r\n"...)
	}
}

// A phone that comes to a call with somebody outside, by whatever way, tells the
// outside no more of itself than one that was there from the start, and the way
// outside is kept open as before.
func TestNamesStayInsideWhoeverComes(t *testing.T) {
	t.Parallel()
	ways := maps.Clone(comers)
	for way, lead := range leads {
		ways[way] = func(t *testing.T, w *world, carol, dave *phone) (*phone, *phone, *house) {
			lead(t, w, carol)
			return carol, w.bob, w.a
		}
	}
	for way, come := range ways {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			o := withColleagues(worldOptions{net: memnet.Options{Delay: 5 * time.Millisecond}})
			o.routesA = append(o.routesA, "erin", "sip:erin@"+erinPhone.String(), "inside")
			inBubble(t, o, func(t *testing.T, w *world) {
				carol := w.phone("carol", carolPhone, insideA)
				defer carol.close()
				dave := w.phone("dave", davePhone, insideB)
				defer dave.close()
				for _, p := range []*phone{w.alice, w.bob, carol, dave} {
					p.body = described(p)
				}
				w.alice.refers()
				w.bob.refers()
				var mu sync.Mutex
				var outside []memnet.Datagram
				said := map[string][]string{}
				w.net.Tap(func(d memnet.Datagram) {
					mu.Lock()
					defer mu.Unlock()
					if between(d.From, d.To) {
						outside = append(outside, d)
					}
					at := d.To.Addr().String()
					said[at] = append(said[at], string(d.Payload))
				})
				comes, far, house := come(t, w, carol, dave)
				time.Sleep(2 * time.Second)
				name, ip := comes.name+"@desk7.lan", comes.lis.Local().Addr().String()
				for range 2 {
					comes.rtcpTo(sdes(0xA1, name, "somebody of room 7"))
					time.Sleep(time.Second)
				}
				synctest.Wait()
				mu.Lock()

				var guess [16]byte // a key that everybody knows is none
				hash := sha256.Sum256(append(guess[:], name...))
				guessed := hex.EncodeToString(hash[:])[:len(name)]
				reports := map[string]int{}
				for _, s := range said[far.lis.Local().Addr().String()] {
					if strings.Contains(s, name) || strings.Contains(s, "room 7") || strings.Contains(s, ip) || strings.Contains(s, "a=ssrc") {
						t.Errorf("at %s's phone:\n%q", far.name, s)
					}
					if strings.Contains(s, guessed) {
						t.Errorf("the name at %s's phone is hidden under no key", far.name)
					}
					if len(s) > 36 && s[1] == 200 && strings.Contains(s, "\x81\xca") {
						reports[s[36:]]++
					}
				}
				for _, d := range outside {
					if s := string(d.Payload); strings.Contains(s, name) || strings.Contains(s, "a=ssrc") {
						t.Errorf("outside:\n%q", s)
					}
				}
				if len(reports) != 1 {
					t.Errorf("source descriptions at %s's phone, want one name: %v", far.name, reports)
				}

				began := len(outside)
				mu.Unlock()
				time.Sleep(time.Minute)
				synctest.Wait()
				mu.Lock()
				alive := map[bool]int{}
				for _, d := range outside[began:] {
					if !isSIP(d.Payload) && (d.From.Addr() == outsideA.Addr()) == (house == w.a) {
						alive[d.From.Port()%2 != 0]++
					}
				}
				if alive[false] < 2 || alive[true] < 2 {
					t.Errorf("keep-alives within a minute: RTP %d, RTCP %d, want one every 15 to 20 s", alive[false], alive[true])
				}
				mu.Unlock()
				w.hear(comes, far)
			})
		})
	}
}
