package calls

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/policy"
)

// codecs are what phones speak, one after the other in a call: other codecs, and the
// same codec under another number at either end.
var codecs = []struct {
	name           string
	offered, other byte   // payload types in the offerer's and the answerer's description
	codec          string // a=rtpmap of both
}{
	{"PCMU", 0, 0, "PCMU/8000"},
	{"PCMA", 8, 8, "PCMA/8000"},
	{"G722", 9, 9, "G722/8000"},
	{"opus", 96, 96, "opus/48000/2"},
	{"opus, numbered differently", 107, 111, "opus/48000/2"},
	{"another codec under that number", 107, 107, "iLBC/8000"},
	{"PCMU again", 0, 0, "PCMU/8000"},
}

func codecSDP(p *phone, payloadType byte, rtpmap string) string {
	pt := strconv.Itoa(int(payloadType))
	return strings.Replace(strings.Replace(phoneSDP(addrOf(p), 4000), "RTP/AVP 0", "RTP/AVP "+pt, 1), "a=rtpmap:0 PCMU/8000", "a=rtpmap:"+pt+" "+rtpmap, 1)
}

// speaks sends n packets of a payload type, whose octets can be told from others.
func (p *phone) speaks(payloadType byte, n int, seq uint16, mark byte) {
	for i := range n {
		pkt := make([]byte, 172)
		pkt[0], pkt[1], pkt[2], pkt[3], pkt[11] = 0x80, payloadType, byte((seq+uint16(i))>>8), byte(seq+uint16(i)), mark
		for j := range pkt[12:] {
			pkt[12+j] = mark ^ byte(i*7+j*13)
		}
		p.rtp.WriteTo(pkt, net.UDPAddrFromAddrPort(*p.media.Load()))
		time.Sleep(20 * time.Millisecond)
	}
}

// took counts what a phone has heard of a payload type, and says what was of
// another one.
func (p *phone) took(payloadType byte) (n int) {
	p.t.Helper()
	synctest.Wait()
	for len(p.heard) > 0 {
		if pkt := <-p.heard; pkt[1]&0x7f == payloadType {
			n++
		} else {
			p.t.Errorf("%s heard payload type %d, not %d", p.name, pkt[1]&0x7f, payloadType)
		}
	}
	return n
}

// Either phone changes the codec, or its number, by either method: the other
// hears it so, under the keys that were there before.
func TestCodecChanges(t *testing.T) {
	t.Parallel()
	quick := memnet.Options{Delay: 10 * time.Millisecond}
	bad := memnet.Options{Delay: 10 * time.Millisecond, Loss: 0.03, Reorder: 0.1, Duplicate: 0.05, Seed: 9}
	for _, method := range []string{"INVITE", "UPDATE"} {
		for _, caller := range []bool{true, false} {
			for name, c := range map[string]struct {
				net  memnet.Options
				keys bool // turn over beside it
				want int
			}{"": {quick, false, 20}, ", new keys": {quick, true, 20}, ", under loss": {bad, false, 10}} {
				t.Run(fmt.Sprint(method, " of the caller ", caller, name), func(t *testing.T) {
					t.Parallel()
					o := worldOptions{net: c.net}
					if c.keys {
						o = rekeying(o.net, b2bua.Rekey{Every: 3 * time.Second}, b2bua.Rekey{})
					}
					inBubble(t, o, func(t *testing.T, w *world) {
						clear, numbers := w.tapClear(), w.tapNumbers()
						w.up()
						time.Sleep(time.Second)
						before, _ := w.views()
						offerer, answerer := w.alice, w.bob
						if !caller {
							offerer, answerer = w.bob, w.alice
						}
						seq := uint16(0)
						for _, codec := range codecs {
							time.Sleep(2300 * time.Millisecond)
							answerer.body = func() []byte { return []byte(codecSDP(answerer, codec.other, codec.codec)) }
							status, got := offerer.offer(method, codecSDP(offerer, codec.offered, codec.codec))
							for try := 0; try < 9 && (status == "491" || status == "500"); try++ { // phones try again
								time.Sleep(3 * time.Second)
								status, got = offerer.offer(method, codecSDP(offerer, codec.offered, codec.codec))
							}
							if status != "200" {
								t.Fatalf("%s: %s", codec.name, status)
							}
							for who, s := range map[string][2]string{
								"the offerer":  {got, fmt.Sprintf("RTP/AVP %d\r\na=rtpmap:%[1]d %s\r\n", codec.other, codec.codec)},
								"the answerer": {string(answerer.reinvited.Body), fmt.Sprintf("RTP/AVP %d\r\na=rtpmap:%[1]d %s\r\n", codec.offered, codec.codec)},
							} {
								if !strings.Contains(s[0], s[1]) || strings.Contains(s[0], "dh-") {
									t.Errorf("%s: %s was told\n%s", codec.name, who, s[0])
								}
							}
							time.Sleep(500 * time.Millisecond)
							for len(offerer.heard)+len(answerer.heard) > 0 { // late
								select {
								case <-offerer.heard:
								case <-answerer.heard:
								}
							}
							done := make(chan bool)
							go func() { answerer.speaks(codec.offered, 20, seq, 0xB2); done <- true }()
							offerer.speaks(codec.other, 20, seq, 0xA1)
							<-done
							seq += 20
							time.Sleep(500 * time.Millisecond)
							if a, b := offerer.took(codec.offered), answerer.took(codec.other); a < c.want || b < c.want {
								t.Errorf("%s: the offerer heard %d, the answerer %d of 20", codec.name, a, b)
							}
						}
						va, vb := w.views()
						if va.SASWords != before.SASWords || vb.SASWords != before.SASWords || va.Protection != "srtp" || *clear != 0 || (va.Rekeyings > 0) != c.keys {
							t.Errorf("%+v\n%+v, %d in clear", va, vb, *clear)
						}
						if c.net.Loss == 0 && !c.keys && len(numbers.faults) != 0 {
							t.Errorf("numbers outside: %v", numbers.faults)
						}
					})
				})
			}
		}
	}
}

// The codec of a call whose exchange passes through a third sipward.
func TestCodecChangesInTheMiddle(t *testing.T) {
	t.Parallel()
	inThree(t, prefers, policy.Require, func(t *testing.T, w *three) {
		readable := w.tapBeyond()
		w.carol.call("sip:bob@b.example")
		w.carol.await("answered")
		w.bob.await("acked")
		time.Sleep(time.Second)
		for i, codec := range codecs {
			offerer, answerer := w.carol, w.bob
			if i%2 == 1 {
				offerer, answerer = w.bob, w.carol
			}
			answerer.body = func() []byte { return []byte(codecSDP(answerer, codec.other, codec.codec)) }
			if status, _ := offerer.offer("INVITE", codecSDP(offerer, codec.offered, codec.codec)); status != "200" {
				t.Fatalf("%s: %s", codec.name, status)
			}
			time.Sleep(500 * time.Millisecond)
			offerer.speaks(codec.other, 10, uint16(100*i), 0xA1)
			answerer.speaks(codec.offered, 10, uint16(100*i), 0xB2)
			time.Sleep(500 * time.Millisecond)
			if a, b := offerer.took(codec.offered), answerer.took(codec.other); a != 10 || b != 10 {
				t.Errorf("%s: the offerer heard %d, the answerer %d of 10", codec.name, a, b)
			}
		}
		w.passedThrough(t)
		if *readable != 0 {
			t.Errorf("%d packets readable", *readable)
		}
	})
}
