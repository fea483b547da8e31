//go:build interop && linux

package interop

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipward/sipward/demo/audio"
	"github.com/sipward/sipward/demo/capture"
)

const (
	// talk is how long both speak: each recording once, at least.
	talk = 6 * time.Second
	// talkPackets is what a phone sends in that time, at 20 ms a packet.
	talkPackets = uint64(talk / (20 * time.Millisecond))
)

var (
	threeWords = regexp.MustCompile(`^\S+ \S+ \S+$`)
	sixDigits  = regexp.MustCompile(`^\d{3} \d{3}$`)
)

// TestCalls are the calls of README and documentation, with real phones.
func TestCalls(t *testing.T) {
	t.Parallel()
	for _, c := range []conversation{
		{name: "baresip to baresip over UDP", caller: "baresip", phones: "udp", wire: "udp", group: "x25519"},
		{name: "baresip to baresip over TCP", caller: "baresip", phones: "tcp", wire: "tcp", group: "x25519mlkem768"},
		{name: "baresip to baresip, held and resumed", caller: "baresip", phones: "udp", wire: "udp", group: "x25519", held: true},
		{name: "SIPp over UDP to baresip", caller: "sipp", phones: "udp", wire: "udp", group: "x25519"},
		{name: "SIPp over TCP to baresip", caller: "sipp", phones: "tcp", wire: "tcp", group: "x25519mlkem768"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			caller := map[string]string{"baresip": "baresip", "sipp": "SIPp"}[c.caller]
			shows(t, "SIP over "+strings.ToUpper(c.phones), caller, "baresip")
			shows(t, "protected call, in clear on its own leg", caller, "baresip")
			if c.held {
				shows(t, "hold and resume", caller)
			}
			c.run(t)
		})
	}
}

// conversation is one call from Alice's phone to Bob's, through a sipward each.
type conversation struct {
	name   string
	caller string // program of Alice's phone: baresip or sipp
	phones string // transport between the phones and their sipwards
	wire   string // transport between the sipwards
	group  string // of the key exchange, which follows from the wire's transport
	held   bool   // Alice holds the call for a while, and Bob hangs up
}

// talker is one end of the conversation as a capture of the plain leg sees it.
type talker struct {
	name  string
	voice []int16
	rtp   int // lowest port of its RTP
}

// has says whether an address is that of the talker's RTP.
func (k talker) has(a netip.AddrPort) bool {
	return int(a.Port()) >= k.rtp && int(a.Port()) < k.rtp+rtpPorts
}

func (c conversation) run(t *testing.T) {
	w := newWire()
	portsA, portsB := newSipwardPorts(t), newSipwardPorts(t)
	bob := startBaresip(t, "bob", audio.Bob(), fmt.Sprintf("%s:%d", phoneHost, portsB.inside), c.phones)
	a := startSipward(t, end{
		name: "Alice's sipward", outside: w.a, ports: portsA,
		far: w.b, farPort: portsB.outside, wire: c.wire, user: bob.user,
	})
	b := startSipward(t, end{
		name: "Bob's sipward", outside: w.b, ports: portsB,
		far: w.a, farPort: portsA.outside, wire: c.wire, user: bob.user,
		called: true, phone: bob.sip, phoneTransport: c.phones,
	})
	// Everything on the wire, and what the sipwards and their phones say to each other.
	tap := startWiretap(t, fmt.Sprintf("host %s or host %s or (host %s and (port %d or port %d or portrange %d-%d or portrange %d-%d))",
		w.a, w.b, phoneHost, portsA.inside, portsB.inside,
		portsA.media, portsA.media+mediaPorts-1, portsB.media, portsB.media+mediaPorts-1))

	var alice *baresip
	var script *sipp
	aliceTalks := talker{name: "Alice", voice: audio.Alice()}
	proxy := fmt.Sprintf("%s:%d", phoneHost, portsA.inside)
	if c.caller == "baresip" {
		alice = startBaresip(t, "alice", audio.Alice(), proxy, c.phones)
		aliceTalks.rtp = alice.rtp[0]
		alice.tell("dial", fmt.Sprintf("sip:%s@bob.example", bob.user))
		alice.await(ringing)
	} else {
		script = startSIPp(t, bob.user, audio.Alice(), proxy, c.phones, talk+8*time.Second)
		aliceTalks.rtp = script.rtp
	}
	bob.await(incoming)
	bob.tell("accept", "")
	bob.await(established)
	if alice != nil {
		alice.await(established)
	}

	a.awaitSAS()
	b.awaitSAS()
	awaitTalk(t, talkPackets, a, b)
	words := c.judgeViews(t, a.call(), b.call())
	if listed, err := a.listed(); err != nil || len(listed) != 1 || listed[0].SASWords != words {
		t.Errorf("sipward calls shows %+v (error: %v), want one with the words %q", listed, err, words)
	}
	if c.held {
		hold(t, alice, func() leg { return a.call().Legs[0] }, a, b)
		if again := c.judgeViews(t, a.call(), b.call()); again != words {
			t.Errorf("after the hold the words are %q, before it %q", again, words)
		}
	}

	switch {
	case alice == nil:
		script.wait(patience) // it hangs up by itself
		bob.await(closed)
	case c.held:
		bob.tell("hangup", "")
		bob.await(closed)
		alice.await(closed)
	default:
		alice.tell("hangup", "")
		alice.await(closed)
		bob.await(closed)
	}
	a.awaitEnd()
	b.awaitEnd()
	bob.quit()
	if alice != nil {
		alice.quit()
	}
	a.stop()
	b.stop()

	packets := tap.stop(portsA.inside, portsA.outside, portsB.inside, portsB.outside)
	onWire := between(packets, w.a, w.b)
	plain := between(packets, phoneHost)
	if stray := len(between(packets, w.a, w.b, phoneHost)) - len(onWire) - len(plain); stray != 0 {
		t.Errorf("%d packets went between inside and outside", stray)
	}
	c.judgeSignalling(t, messages(onWire), messages(plain))
	judgeWire(t, 2, onWire, plain, aliceTalks, talker{name: "Bob", voice: audio.Bob(), rtp: bob.rtp[0]})

	judgeVoice(t, "Bob's phone recorded Alice", bob.heard(), audio.Alice())
	if alice != nil {
		judgeVoice(t, "Alice's phone recorded Bob", alice.heard(), audio.Bob())
	}
}

// awaitTalk waits until n packets more came from every phone and over the wire.
func awaitTalk(t *testing.T, n uint64, sipwards ...*sipward) {
	t.Helper()
	var want []uint64
	until(t, "the conversation", 200*time.Millisecond, func() error {
		var legs []leg
		for _, s := range sipwards {
			legs = append(legs, s.call().Legs...)
		}
		if want == nil {
			for _, l := range legs {
				want = append(want, l.PacketsIn+n)
			}
		}
		for i, l := range legs {
			if l.PacketsIn < want[i] {
				return fmt.Errorf("%d packets are missing on one of the legs %+v", want[i]-l.PacketsIn, legs)
			}
		}
		return nil
	})
}

// awaitHeard waits until n packets more came from both ends of one of the calls.
func awaitHeard(t *testing.T, at *sipward, id string, n uint64) {
	t.Helper()
	var want []uint64
	until(t, "the conversation", 200*time.Millisecond, func() error {
		calls, err := at.calls()
		i := slices.IndexFunc(calls, func(c call) bool { return c.ID == id })
		if err != nil || i < 0 {
			return fmt.Errorf("the call %s is not among %+v (error: %v)", id, calls, err)
		}
		for j, l := range calls[i].Legs {
			if len(want) == j {
				want = append(want, l.PacketsIn+n)
			}
			if l.PacketsIn < want[j] {
				err = fmt.Errorf("packets are missing on one of the legs %+v", calls[i].Legs)
			}
		}
		return err
	})
}

// hold lets a phone hold its call until nothing comes any more from where it has to
// be quiet, and resume it.
func hold(t *testing.T, phone softphone, quiet func() leg, a, b *sipward) {
	t.Helper()
	phone.tell("hold", "")
	var last uint64
	until(t, "the hold", 500*time.Millisecond, func() error {
		in := quiet().PacketsIn
		if in-last > 5 { // RTCP goes on
			defer func() { last = in }()
			return fmt.Errorf("%d packets came within half a second", in-last)
		}
		return nil
	})
	phone.tell("resume", "")
	awaitTalk(t, talkPackets/3, a, b)
}

// judgeViews looks at what both sipwards show their users, and returns the words.
func (c conversation) judgeViews(t *testing.T, a, b call) string {
	t.Helper()
	for name, v := range map[string]call{"outbound": a, "inbound": b} {
		if v.Direction != name || v.State != "established" || v.Protection != "srtp" || !trusted(v) {
			t.Errorf("the %s call is shown as %s, %s, protection %s, trust %s", name, v.Direction, v.State, v.Protection, v.Trust)
		}
		if v.Group != c.group || v.Suite != "AEAD_AES_256_GCM" {
			t.Errorf("the %s call has the keys of %s for %s, want %s", name, v.Group, v.Suite, c.group)
		}
		for _, l := range v.Legs {
			if l.DroppedAuth != 0 || l.DroppedReplay != 0 || l.DroppedSource != 0 {
				t.Errorf("the %s call dropped packets from the %s: %+v", name, l.Side, l)
			}
		}
		t.Logf("%s: %s, %s, %s: %s; %+v", name, v.Group, v.Suite, v.SASWords, v.Reason, v.Legs)
	}
	if !threeWords.MatchString(a.SASWords) || !sixDigits.MatchString(a.SASCode) {
		t.Errorf("not what people can read to each other: %q, %q", a.SASWords, a.SASCode)
	}
	if a.SASWords != b.SASWords || a.SASCode != b.SASCode {
		t.Errorf("the words differ: %q and %q, %q and %q", a.SASWords, b.SASWords, a.SASCode, b.SASCode)
	}
	return a.SASWords
}

// judgeSignalling looks for the key exchange where it belongs, and nowhere else.
func (c conversation) judgeSignalling(t *testing.T, wire, plain []message) {
	t.Helper()
	for _, want := range []struct{ kind, attribute, contentType string }{
		{"INVITE", "dh-init", "application/sdp"},
		{"200 INVITE", "dh-resp", "application/sdp"},
		{"ACK", "dh-fin", "application/dh-sdpfrag"},
	} {
		i := slices.IndexFunc(wire, func(m message) bool { return m.kind() == want.kind })
		if i < 0 {
			t.Errorf("no %s on the wire", want.kind)
			continue
		}
		m := wire[i]
		values := m.attributes(want.attribute)
		if len(values) != 1 || !strings.HasPrefix(values[0], "1 ") || m.header("Content-Type") != want.contentType {
			t.Errorf("%s has a=%s %q in %s, want one in %s:\n%s", want.kind, want.attribute, values, m.header("Content-Type"), want.contentType, m.text)
			continue
		}
		if m.tcp != (c.wire == "tcp") {
			t.Errorf("%s came over the wrong transport, want %s", want.kind, c.wire)
		}
		if field := strings.Fields(values[0])[1]; want.kind != "ACK" && !strings.HasPrefix(field, c.group) {
			t.Errorf("a=%s of %s begins with %s, want %s", want.attribute, want.kind, field, c.group)
		}
		t.Logf("%s over %s: a=%s of %d octets in a message of %d", want.kind, c.wire, want.attribute, len(values[0]), len(m.text))
	}
	if kinds := kindsOf(wire); !kinds["BYE"] || !kinds["200 BYE"] {
		t.Errorf("no BYE on the wire: %v", kinds)
	}
	for _, m := range wire {
		for _, plainKeys := range []string{"a=crypto:", "k="} {
			if strings.Contains(m.text, "\r\n"+plainKeys) {
				t.Errorf("a key in the clear on the wire:\n%s", m.text)
			}
		}
	}
	if kinds := kindsOf(plain); !kinds["INVITE"] || !kinds["ACK"] {
		t.Errorf("the capture shows no call between the phones and their sipwards: %v", kinds)
	}
	for _, m := range plain {
		if strings.Contains(strings.ToLower(m.text), "dh-") {
			t.Errorf("a phone sees something of the key exchange:\n%s", m.text)
		}
	}
}

// judgeWire compares the wire, and the flows of media on it, with what the phones
// said.
func judgeWire(t *testing.T, flowsOnWire int, onWire, plain []seen, talkers ...talker) {
	t.Helper()
	// What the phones said is found where it may be seen ...
	var said capture.PlainSet
	flows := capture.Flows(datagrams(plain))
	for i, who := range talkers {
		far := talkers[1-i]
		spoke, told := 0, 0
		for _, f := range flows {
			switch {
			case who.has(f.From):
				for _, p := range f.Packets {
					if said.Add(p.Payload) {
						spoke++
					}
				}
				judgeFlow(t, fmt.Sprintf("%s on the leg of %s's own phone", who.name, who.name), f, who.voice)
			case far.has(f.To):
				told++
				judgeFlow(t, fmt.Sprintf("%s on the leg of %s's phone", who.name, far.name), f, who.voice)
			}
		}
		if uint64(spoke) < talkPackets/2 || told != 1 {
			t.Errorf("%s's phone sent %d packets with speech, and %d flows reached %s's", who.name, spoke, told, far.name)
		}
	}
	// ... and not on the wire, in nothing that went over it.
	var all [][]byte
	for _, p := range onWire {
		all = append(all, p.Payload)
	}
	if n := said.Count(all); n != 0 {
		t.Errorf("%d of %d packets on the wire hold what a phone said", n, len(all))
	}

	media := capture.Flows(datagrams(onWire))
	if len(media) != flowsOnWire {
		t.Errorf("%d flows of media on the wire, want %d", len(media), flowsOnWire)
	}
	for _, f := range media {
		if uint64(len(f.Packets)) < talkPackets {
			t.Errorf("only %d packets from %v to %v", len(f.Packets), f.From, f.To)
		}
		if bits := entropy(f.Payloads()); bits < 7.99 {
			t.Errorf("what %v sent %v has %.3f bits of entropy an octet: this is no ciphertext", f.From, f.To, bits)
		} else {
			t.Logf("%v to %v: %d packets, %.4f bits an octet", f.From, f.To, len(f.Packets), bits)
		}
		judgeNoVoice(t, fmt.Sprintf("%v to %v", f.From, f.To), f.Payloads(), talkers)
	}
	// tshark reads the session descriptions and plays what they announce.
	var played [][]byte
	for _, p := range onWire {
		if p.rtp {
			played = append(played, p.payload)
		}
	}
	if uint64(len(played)) < 2*talkPackets {
		t.Errorf("tshark finds only %d packets of RTP on the wire", len(played))
	}
	if n := said.Count(played); n != 0 {
		t.Errorf("tshark reads speech in %d of %d packets", n, len(played))
	}
}

// judgeFlow wants to hear a voice in every part of a flow: a phone that resumes a
// call begins to speak again from the beginning. What a busy machine has cut out of one
// in less than half a second is too short to know a voice by.
func judgeFlow(t *testing.T, where string, f capture.Flow, voice []int16) {
	t.Helper()
	const short = 25 // packets
	begin, judged := 0, 0
	for i := range f.Packets {
		last := i == len(f.Packets)-1
		if last || f.Packets[i+1].Time.Sub(f.Packets[i].Time) > 300*time.Millisecond {
			if i+1-begin >= short {
				judgeVoice(t, where, decoded(f.Payloads()[begin:i+1]), voice)
				judged += i + 1 - begin
			}
			begin = i + 1
		}
	}
	if judged < len(f.Packets)*9/10 {
		t.Errorf("%s: only %d of %d packets are in parts that can be heard", where, judged, len(f.Packets))
	}
}

// judgeVoice wants to hear a voice.
func judgeVoice(t *testing.T, where string, heard, voice []int16) {
	t.Helper()
	score := alike(heard, voice)
	t.Logf("%s: %.3f, %.1f s", where, score, float64(len(heard))/audio.Rate)
	if score < sameVoice {
		t.Errorf("%s: alike by %.3f, want %v", where, score, sameVoice)
	}
}

// judgeNoVoice wants to hear none of the voices, however the payloads are taken.
func judgeNoVoice(t *testing.T, where string, payloads [][]byte, talkers []talker) {
	t.Helper()
	for _, cut := range []int{0, 16} { // without the authentication tag
		var short [][]byte
		for _, p := range payloads {
			short = append(short, p[:max(len(p)-cut, 0)])
		}
		for _, who := range talkers {
			if score := alike(decoded(short), who.voice); score >= otherVoice {
				t.Errorf("%s sounds like %s by %.3f", where, who.name, score)
			}
		}
	}
}
