package demo

import (
	"fmt"
	"math"

	"github.com/sipward/sipward/demo/audio"
	"github.com/sipward/sipward/demo/capture"
	"github.com/sipward/sipward/keyexchange"
)

// What a call must keep to be OK. The octets are those that the protocol
// allows an exchange with x25519 to add.
const (
	minMatch       = 0.95
	maxInviteAdded = 256
	maxAnswerAdded = 160
	maxAckAdded    = 160

	trustEncrypted = "encrypted"
)

// Result is what became of a demo call. A is alice, who calls, B is bob.
type Result struct {
	Transport string `json:"transport"` // of SIP: udp or tcp
	Mitm      bool   `json:"mitm"`      // a man in the middle stood on the wire

	// The short authentication strings that the two sipwards show, the three
	// words and the code with spaces between: "crowfoot yesteryear adult 123 456".
	SASA      string `json:"sas_a"`
	SASB      string `json:"sas_b"`
	SASWordsA string `json:"sas_words_a"`
	SASWordsB string `json:"sas_words_b"`
	SASCodeA  string `json:"sas_code_a"`
	SASCodeB  string `json:"sas_code_b"`
	SASEqual  bool   `json:"sas_equal"`
	TrustA    string `json:"trust_a"` // the word that the sipward shows, encrypted
	TrustB    string `json:"trust_b"`
	Group     string `json:"group"` // as alice's sipward shows it
	Suite     string `json:"suite"`

	PacketsSent  int     `json:"packets_sent"`  // RTP, by both phones
	PacketsHeard int     `json:"packets_heard"` // RTP, by both phones, each once
	AudioMatch   float64 `json:"audio_match"`   // of what was heard with what was played: 0 to 1, the worse direction

	TapPackets int `json:"tap_packets"` // RTP datagrams that the wire took in, both directions
	TapPlain   int `json:"tap_plain"`   // of these, how many hold something that a phone sent in clear

	// By how many octets the exchange makes the messages longer, on the wire.
	InviteAdded int `json:"invite_added_bytes"`
	AnswerAdded int `json:"answer_added_bytes"`
	AckAdded    int `json:"ack_added_bytes"`

	// The attributes as they crossed the wire's two links. They are equal
	// unless a man in the middle stood between.
	AttributesA Attributes `json:"attributes_a"`
	AttributesB Attributes `json:"attributes_b"`

	Files   Files   `json:"files"`
	Seconds float64 `json:"seconds"` // how long it took

	// OK says that everything was as it should be. Without a man in the
	// middle: equal strings, audio_match of 0.95 at least, every packet heard,
	// packets tapped and none of them plain, trust `encrypted` at both ends, and
	// messages no longer than the protocol says (256 octets for INVITE; 160
	// for 2xx and ACK, with x25519). With one it says that he was to be seen:
	// the strings differ on a call in which everything else worked: audio,
	// packets and trust as above.
	OK bool `json:"ok"`
	// Faults says, in sentences, why it is not OK.
	Faults []string `json:"faults,omitempty"`
}

// Files are absolute paths.
type Files struct {
	Dir     string `json:"dir"`
	Alice   string `json:"alice"`          // what alice's phone heard
	Bob     string `json:"bob"`            // what bob's phone heard
	Wiretap string `json:"wiretap"`        // what was tapped, played as if it were PCMU
	Mitm    string `json:"mitm,omitempty"` // what the man in the middle heard
	PCAP    string `json:"pcap,omitempty"` // the link between alice's sipward and the wire
}

// result collects what a call has shown.
func result(o Options, s *stage, t talk, tap *wiretap) *Result {
	r := &Result{
		Transport: o.Transport, Mitm: o.Mitm,
		SASA: sasText(t.viewA), SASB: sasText(t.viewB),
		SASWordsA: t.viewA.SASWords, SASWordsB: t.viewB.SASWords, SASCodeA: t.viewA.SASCode, SASCodeB: t.viewB.SASCode,
		TrustA: t.viewA.Trust, TrustB: t.viewB.Trust, Group: t.viewA.Group, Suite: t.viewA.Suite,
		PacketsSent: t.a.PacketsSent() + t.b.PacketsSent(), PacketsHeard: t.a.PacketsHeard() + t.b.PacketsHeard(),
		AttributesA: s.wire.Attributes(LinkA), AttributesB: s.wire.Attributes(LinkB),
	}
	r.SASEqual = r.SASA != "" && r.SASA == r.SASB
	atBob, _ := audio.Correlate(t.b.Heard(), audio.Alice())
	atAlice, _ := audio.Correlate(t.a.Heard(), audio.Bob())
	r.AudioMatch = math.Min(atBob, atAlice)
	invite, answer, ack := s.wire.Added()
	r.InviteAdded, r.AnswerAdded, r.AckAdded = invite, answer, ack
	r.TapPackets, r.TapPlain = tapped(t, tap.received)
	if n := tap.received.Dropped(); n > 0 {
		r.Faults = append(r.Faults, fmt.Sprintf("the wiretap was full: it did not look at %d packets", n))
	}
	return r
}

// tapped counts the datagrams of a wiretap, and those in which something of
// what the phones sent can be read.
func tapped(t talk, received *capture.Recorder) (packets, plain int) {
	var said capture.PlainSet
	for _, c := range []*Call{t.a, t.b} {
		for _, p := range c.SentPayloads() {
			said.Add(p)
		}
	}
	for _, p := range received.Packets() {
		packets++
		if said.In(p.Payload) {
			plain++
		}
	}
	return packets, plain
}

// judge fills in Faults and OK.
func (r *Result) judge() {
	fault := func(wrong bool, format string, args ...any) {
		if wrong {
			r.Faults = append(r.Faults, fmt.Sprintf(format, args...))
		}
	}
	fault(r.SASA == "" || r.SASB == "", "a sipward shows no short authentication string")
	fault(r.AudioMatch < minMatch, "what was heard matches what was played by %.2f only", r.AudioMatch)
	fault(r.PacketsSent == 0 || r.PacketsHeard != r.PacketsSent, "the phones sent %d packets and heard %d", r.PacketsSent, r.PacketsHeard)
	fault(r.TrustA != trustEncrypted || r.TrustB != trustEncrypted, "trust is %q at alice's end and %q at bob's", r.TrustA, r.TrustB)
	if r.Mitm {
		fault(r.SASEqual, "the short authentication strings are equal although a man in the middle stands on the wire")
	} else {
		fault(!r.SASEqual, "the short authentication strings differ")
		fault(r.TapPackets == 0, "the wiretap saw no packet")
		fault(r.TapPlain > 0, "%d packets on the wire are readable", r.TapPlain)
		fault(r.InviteAdded > maxInviteAdded, "the exchange adds %d octets to the INVITE", r.InviteAdded)
		if r.Group == keyexchange.GroupX25519 {
			fault(r.AnswerAdded > maxAnswerAdded, "the exchange adds %d octets to the 2xx", r.AnswerAdded)
			fault(r.AckAdded > maxAckAdded, "the exchange adds %d octets to the ACK", r.AckAdded)
		}
	}
	r.OK = len(r.Faults) == 0
}
