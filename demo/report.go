package demo

import (
	"fmt"
	"io"
	"strings"
)

// Write reports the call to a person.
func (r *Result) Write(w io.Writer) error {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }

	line("alice -- sipward == wire == sipward -- bob     (SIP over %s, all on this machine)", r.Transport)
	line("")
	line("What carried the key exchange")
	carried := func(message, name, sent, arrived string) {
		line("  %-6s  a=%s:%s", message, name, shortened(sent))
		if sent != arrived {
			line("  %-6s  a=%s:%s", "   ->", name, shortened(arrived))
		}
	}
	carried("INVITE", "dh-init", r.AttributesA.Init, r.AttributesB.Init)
	carried("200", "dh-resp", r.AttributesB.Resp, r.AttributesA.Resp)
	carried("ACK", "dh-fin", r.AttributesA.Fin, r.AttributesB.Fin)
	if r.Mitm {
		line("  (-> is what the man in the middle made of it)")
	}
	line("  octets added: INVITE %d, 200 %d, ACK %d", r.InviteAdded, r.AnswerAdded, r.AckAdded)
	line("  agreed: %s, %s", r.Group, r.Suite)

	line("")
	line("What the sipwards show")
	line("  %-6s  %-36s  %s", "", "alice's", "bob's")
	line("  %-6s  %-36s  %s", "words", r.SASWordsA, r.SASWordsB)
	line("  %-6s  %-36s  %s", "code", r.SASCodeA, r.SASCodeB)
	line("  %-6s  %-36s  %s", "trust", r.TrustA, r.TrustB)

	line("")
	line("What was heard")
	line("  phones   %d packets sent, %d heard; sound as played: %.3f of 1", r.PacketsSent, r.PacketsHeard, r.AudioMatch)
	line("  wiretap  %d packets seen, %d of them readable", r.TapPackets, r.TapPlain)

	line("")
	line("Files")
	for _, f := range []struct{ path, what string }{
		{r.Files.Alice, "what alice heard"},
		{r.Files.Bob, "what bob heard"},
		{r.Files.Wiretap, "what the wiretap heard"},
		{r.Files.Mitm, "what the man in the middle heard"},
		{r.Files.PCAP, "the wire, for Wireshark"},
	} {
		if f.path != "" {
			line("  %s  (%s)", f.path, f.what)
		}
	}

	line("")
	switch {
	case r.Mitm && !r.SASEqual:
		line("The words differ: somebody stands between the two sipwards, and the call is encrypted to him, not")
		line("to the other end. He hears everything. Alice and Bob notice as soon as they read the words to each")
		line("other: a call whose words differ is not private, hang up.")
	case r.SASEqual && !r.Mitm:
		line("The words are equal: once Alice and Bob have read them to each other, they know that nobody stands")
		line("between the two sipwards.")
	}
	if !r.OK {
		line("NOT as it should be:")
		for _, f := range r.Faults {
			line("  %s", f)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// shortened fits an attribute on the screen; the whole of it stands in the
// JSON form and in the capture.
func shortened(v string) string {
	const begin, end = 60, 24
	if len(v) <= 260 {
		return v
	}
	return fmt.Sprintf("%s...%s (%d octets)", v[:begin], v[len(v)-end:], len(v))
}
