package calls

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sip/sdp"
)

// descriptions are those of sip/sdp's own tests, and those of another directory
// where SIPWARD_SDP_CORPUS names one.
func descriptions(t *testing.T) map[string][]byte {
	t.Helper()
	found := map[string][]byte{}
	for _, dir := range []string{filepath.Join("..", "..", "sip", "sdp", "testdata"), os.Getenv("SIPWARD_SDP_CORPUS")} {
		if dir == "" {
			continue
		}
		n := len(found)
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".sdp" {
				return err
			}
			found[filepath.Base(path)], err = os.ReadFile(path)
			return err
		})
		if err != nil || len(found) == n {
			t.Fatalf("no *.sdp under %s: %v", dir, err)
		}
	}
	return found
}

// counterpart is a description of a plain phone with as many m-lines, of the
// same kinds: an offer that body could answer, or the answer to it.
func counterpart(addr netip.Addr, body []byte) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "v=0\r\no=- 1 1 IN IP4 %[1]v\r\ns=-\r\nc=IN IP4 %[1]v\r\nt=0 0\r\n", addr)
	s, err := sdp.Parse(body)
	if err != nil {
		return nil
	}
	for i, m := range s.Media() {
		port := 4000 + 10*i
		if m.Rejected {
			port = 0
		}
		formats := strings.Join(m.Formats, " ")
		if formats == "" {
			formats = "0"
		}
		if m.Kind == "" || m.Proto == "" {
			m.Kind, m.Proto = "audio", "RTP/AVP"
		}
		fmt.Fprintf(&b, "m=%s %d %s %s\r\n", m.Kind, port, m.Proto, formats)
	}
	return []byte(b.String())
}

var dotted = regexp.MustCompile(`\d{1,3}(?:\.\d{1,3}){3}`)

// insideOf are the addresses that a body names in lines where addresses stand.
func insideOf(body []byte) map[string]bool {
	found := map[string]bool{"10.1.0.2": true, "10.1.0.1": true, "10.2.0.2": true, "10.2.0.1": true}
	for _, l := range regexp.MustCompile(`[\r\n]+`).Split(string(body), -1) {
		l = strings.TrimLeft(l, " \t\ufeff")
		if !regexp.MustCompile(`^(?:[co]=|a=(?:rtcp|candidate|remote-candidates?|alt|altc):)`).MatchString(l) {
			continue
		}
		for _, f := range strings.FieldsFunc(l, func(r rune) bool { return strings.ContainsRune(" \t/[]", r) }) {
			if a, err := netip.ParseAddr(f); err == nil && !a.IsUnspecified() && a != outsideA.Addr() && a != outsideB.Addr() {
				found[f] = true
			}
		}
	}
	return found
}

// leaks says which inside address stands in a message outside.
// What an exchange begun inside says is its own affair: it is signed and hashed.
func leaks(msg string, inside map[string]bool) string {
	msg = regexp.MustCompile(`(?m)^a=dh-.*$`).ReplaceAllString(msg, "")
	for _, a := range dotted.FindAllString(msg, -1) {
		if inside[a] {
			return a
		}
	}
	for a := range inside {
		if strings.Contains(a, ":") && strings.Contains(strings.ToLower(msg), strings.ToLower(a)) {
			return a
		}
	}
	return ""
}

// Every description that is known, as an offer and as an answer, crosses two
// sipwards without breaking the call and without naming outside who is inside.
func TestDescriptionsOfManyPhones(t *testing.T) {
	t.Parallel()
	for name, body := range descriptions(t) {
		s, err := sdp.Parse(body)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		plain, exchange := false, len(s.DH()) > 0
		for _, m := range s.Media() {
			plain = plain || m.RTP && !m.Secure && !m.Rejected && !m.DTLS
		}
		for _, mode := range []policy.Mode{policy.Require, policy.Prefer} {
			for _, as := range []string{"offer", "answer"} {
				t.Run(name+" as "+as+", "+string(mode), func(t *testing.T) {
					t.Parallel()
					inBubble(t, worldOptions{modeA: mode, modeB: mode}, func(t *testing.T, w *world) {
						inside := insideOf(body)
						w.net.Tap(func(d memnet.Datagram) {
							if between(d.From, d.To) && isSIP(d.Payload) {
								if a := leaks(string(d.Payload), inside); a != "" {
									t.Errorf("%s outside, in\n%s", a, d.Payload)
								}
							}
						})
						if as == "offer" {
							w.alice.body = func() []byte { return body }
							w.bob.body = func() []byte { return counterpart(bobPhone.Addr(), w.bob.lastReq.Body) }
						} else {
							w.alice.body = func() []byte { return counterpart(alicePhone.Addr(), body) }
							w.bob.body = func() []byte { return body }
						}
						w.alice.call("sip:bob@b.example")
						got := w.alice.await("answered", "refused")
						if as == "offer" && plain && !exchange && got != "answered" {
							t.Errorf("not answered: %s", got)
						}
						if got == "answered" {
							w.bob.await("acked")
							time.Sleep(time.Second)
							va, vb := w.views()
							if plain && !exchange && as == "offer" && (va.State != "established" || vb.State != "established") {
								t.Errorf("the call is %s and %s", va.State, vb.State)
							}
							w.alice.hangup()
							w.alice.await("bye answered")
							w.bob.await("bye")
						} else {
							time.Sleep(time.Minute) // a callee who has answered is told
						}
						w.none()
						// The houses are as good as before.
						w.alice.body = func() []byte { return []byte(phoneSDP(alicePhone.Addr(), 4000)) }
						w.bob.body = func() []byte { return []byte(phoneSDP(bobPhone.Addr(), 4000)) }
						w.up()
						if b, a := w.talk(3); b != 3 || a != 3 {
							t.Errorf("afterwards bob heard %d, alice %d of 3", b, a)
						}
					})
				})
			}
		}
	}
}
