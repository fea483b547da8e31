package calls

import (
	"bytes"
	"net/netip"
	"strings"
	"time"

	"github.com/sipward/sipward/demo/memnet"
)

// between says whether a datagram crosses the network between the houses.
func between(from, to netip.AddrPort) bool {
	isA := func(ap netip.AddrPort) bool { return ap.Addr() == outsideA.Addr() || ap.Addr() == awayA.Addr() }
	isB := func(ap netip.AddrPort) bool { return ap.Addr() == outsideB.Addr() || ap.Addr() == awayB.Addr() }
	return isA(from) && isB(to) || isB(from) && isA(to)
}

func isSIP(b []byte) bool {
	return bytes.Contains(b[:min(len(b), 400)], []byte("SIP/2.0"))
}

// firstLine is the start line of a SIP message.
func firstLine(b []byte) string {
	l, _, _ := strings.Cut(string(b), "\r\n")
	return l
}

// tamper changes SIP messages between the houses. f gets a message and
// returns what arrives in its place; Content-Length is mended.
func (w *world) tamper(f func(msg string) string) { w.tamperOn(between, f) }

// tamperOn is tamper for another wire.
func (w *world) tamperOn(wire func(from, to netip.AddrPort) bool, f func(msg string) string) {
	w.net.SetRule(func(from, to netip.AddrPort, b []byte) memnet.Verdict {
		if !wire(from, to) || !isSIP(b) {
			return memnet.Verdict{}
		}
		return mended(string(b), f(string(b)))
	})
}

// apart puts a longer way between the houses, that much in either direction, and
// changes SIP messages there as tamper does where f is not nil.
func (w *world) apart(way time.Duration, f func(msg string) string) {
	w.net.SetRule(func(from, to netip.AddrPort, b []byte) (v memnet.Verdict) {
		if !between(from, to) {
			return v
		}
		if f != nil && isSIP(b) {
			v = mended(string(b), f(string(b)))
		}
		v.Delay = way
		return v
	})
}

// inThose limits a change to the messages that begin so.
func inThose(start string, change func(string) string) func(string) string {
	return func(m string) string {
		if !strings.HasPrefix(m, start) {
			return m
		}
		return change(m)
	}
}

// mended is what becomes of a message that was changed.
func mended(msg, out string) memnet.Verdict {
	if out == msg {
		return memnet.Verdict{}
	}
	if out == "" {
		return memnet.Verdict{Drop: true}
	}
	head, body, _ := strings.Cut(out, "\r\n\r\n")
	lines := strings.Split(head, "\r\n")
	for i, l := range lines {
		if strings.HasPrefix(l, "Content-Length:") {
			lines[i] = "Content-Length: " + itoa(len(body))
		}
	}
	return memnet.Verdict{Payload: []byte(strings.Join(lines, "\r\n") + "\r\n\r\n" + body)}
}

func itoa(n int) string {
	if n == 0 {
		return "0"
	}
	var b []byte
	for ; n > 0; n /= 10 {
		b = append([]byte{byte('0' + n%10)}, b...)
	}
	return string(b)
}

// value returns the value of an attribute in a message, "" where absent.
func value(msg, name string) string {
	_, rest, ok := strings.Cut(msg, "a="+name+":")
	if !ok {
		return ""
	}
	v, _, _ := strings.Cut(rest, "\r\n")
	return v
}

// flip changes the last character of an attribute's value but for its unused
// bits, so that the form stays right.
func flip(msg, name string) string {
	v := value(msg, name)
	if v == "" {
		return msg
	}
	i := len(v) - 3
	c := byte('A')
	if v[i] == c {
		c = 'B'
	}
	return strings.Replace(msg, v, v[:i]+string(c)+v[i+1:], 1)
}
