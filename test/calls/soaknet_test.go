package calls

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"time"

	"github.com/sipward/sipward/demo/memnet"
)

// The soak's network, and what it writes down.

const soakLoss = 0.05 // of the datagrams with SIP

// link is one direction between two addresses, for one call: what happens to a
// call's datagrams does not depend on the other calls.
type link struct {
	call     int
	from, to netip.AddrPort
}

// fate decides about a SIP datagram by the call that it belongs to.
func (s *soak) fate(from, to netip.AddrPort, b []byte) memnet.Verdict {
	n, ok := callNumber(b)
	if !ok {
		return memnet.Verdict{}
	}
	k := link{n, from, to}
	r := s.chance[k]
	if r == nil {
		h := fnv.New64a()
		fmt.Fprint(h, from, to)
		r = rand.New(rand.NewPCG(s.seed^h.Sum64(), uint64(n)))
		s.chance[k] = r
	}
	lost, late, delay := r.Float64() < soakLoss, r.Float64() < 0.1, time.Duration(r.Int64N(int64(60*time.Millisecond)))
	v := memnet.Verdict{Drop: lost}
	if late {
		v.Delay = delay
	}
	s.keep(k, b, v)
	return v
}

// keep writes down what is sent of a call, in a line.
func (s *soak) keep(k link, b []byte, v memnet.Verdict) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.wire[k.call]
	if w == nil {
		w = new(bytes.Buffer)
		s.wire[k.call] = w
	}
	_, rest, _ := bytes.Cut(b, []byte("\r\nCSeq: "))
	cseq, _, _ := bytes.Cut(rest, []byte("\r\n"))
	fmt.Fprintf(w, "%9.3f %v > %v ", time.Since(s.began).Seconds(), k.from.Addr(), k.to.Addr())
	if status, response := bytes.CutPrefix(b, []byte("SIP/2.0 ")); response {
		fmt.Fprintf(w, "%s ", status[:3])
	}
	w.Write(cseq)
	switch {
	case v.Drop:
		w.WriteString(", lost")
	case v.Delay > 0:
		fmt.Fprintf(w, ", %v late", v.Delay.Round(time.Millisecond))
	}
	w.WriteByte('\n')
}

// sent is what keep wrote of a call. The caller holds mu.
func (s *soak) sent(n int) string {
	if w := s.wire[n]; w != nil {
		return w.String()
	}
	return ""
}

// callNumber finds the number of the call that a SIP message belongs to, in the
// user part of its addresses.
func callNumber(b []byte) (int, bool) {
	if !isSIP(b) {
		return 0, false
	}
	_, rest, ok := bytes.Cut(b, []byte("<sip:n"))
	if !ok || len(rest) < 7 {
		return 0, false
	}
	n, err := strconv.Atoi(string(rest[:6]))
	return n, err == nil
}

func userOfCall(n int) string { return fmt.Sprintf("n%06d", n) }
