package calls

import (
	"bytes"
	"encoding/binary"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/policy"
)

// sdes is a compound of a sender report and a source description with the
// canonical name of somebody's desk, and more about them than that (RFC 3550
// section 6.5).
func sdes(ssrc uint32, cname, more string) []byte {
	b := binary.BigEndian.AppendUint32([]byte{0x80, 200, 0, 6}, ssrc)
	b = append(b, make([]byte, 20)...)
	chunk := binary.BigEndian.AppendUint32(nil, ssrc)
	chunk = append(append(chunk, 1, byte(len(cname))), cname...)
	chunk = append(append(chunk, 2, byte(len(more))), more...)
	chunk = append(chunk, make([]byte, 4-len(chunk)%4)...)
	return append(append(b, 0x81, 202, 0, byte(len(chunk)/4)), chunk...)
}

// rtcpTo sends RTCP to the port after the one for RTP.
func (p *phone) rtcpTo(pkt []byte) {
	to := *p.media.Load()
	p.rtcp.WriteTo(pkt, &net.UDPAddr{IP: to.Addr().AsSlice(), Port: int(to.Port()) + 1})
}

// Names of the inside, in a session description or in RTCP, reach nobody
// outside: neither the wire nor the far end's phone.
func TestCanonicalNamesStayInside(t *testing.T) {
	t.Parallel()
	for _, mode := range []policy.Mode{policy.Require, policy.Off} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			inBubble(t, worldOptions{modeA: mode, modeB: mode}, func(t *testing.T, w *world) {
				const cname, name = "alice@desk7.lan", "Alice of room 7"
				var outside, beyond []string
				w.net.Tap(func(d memnet.Datagram) {
					switch {
					case between(d.From, d.To):
						outside = append(outside, string(d.Payload))
					case d.To.Addr() == bobPhone.Addr():
						beyond = append(beyond, string(d.Payload))
					}
				})
				w.alice.body = func() []byte {
					return []byte(phoneSDP(alicePhone.Addr(), 4000) + "a=ssrc:7 cname:" + cname + "\r\na=ssrc:7 label:x\r\na=ssrc-group:FID 7 8\r\na=x-vendor:1\r\n")
				}
				w.up()
				w.talk(5)
				w.alice.rtcpTo(sdes(0xA1, cname, name))
				w.alice.rtcpTo(sdes(0xA1, cname, name))
				time.Sleep(time.Second)
				synctest.Wait()
				reports := map[string]int{}
				for where, seen := range map[string][]string{"outside": outside, "at bob's phone": beyond} {
					for _, s := range seen {
						if strings.Contains(s, cname) || strings.Contains(s, "room 7") || strings.Contains(s, "a=ssrc") {
							t.Errorf("%s:\n%q", where, s)
						}
					}
				}
				for _, s := range beyond {
					if b := []byte(s); len(b) > 28 && b[1] == 200 && bytes.Contains(b, []byte{0x81, 202}) {
						reports[s[36:]]++
					}
				}
				if len(reports) != 1 || !strings.Contains(strings.Join(beyond, ""), "a=x-vendor:1") {
					t.Errorf("source descriptions at bob's phone, want one name twice: %v", reports)
				}
			})
		})
	}
}
