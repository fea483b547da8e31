package sdp

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	pion "github.com/pion/sdp/v3"
)

// The oracle judges a rewritten body by scanning text on its own: it calls
// nothing of the package but Parse, Apply and Bytes.

var (
	oracleEnd   = regexp.MustCompile(`\r*\n|\r+`)
	oracleIPv4  = regexp.MustCompile(`\d{1,3}(?:\.\d{1,3}){3}`)
	oracleIPv6  = regexp.MustCompile(`(?i)[0-9a-f]*:[0-9a-f:.]+(?:%\w+)?`)
	oracleNames = regexp.MustCompile(`(?i)^(?:c=IN +IP[46]|o=.* IN IP[46]|a=rtcp:\d+ IN IP[46])[ \t]+(\S*[a-z]\S*\.\S+)`)

	// Lines that may differ in any rewrite, and those that may only where keying goes.
	oracleTouched = regexp.MustCompile(`^(?:\x{feff}|[ \t])*(?:[cmo]=|a=(?:rtcp|rtcp-mux|rtcp-mux-only|candidate|remote-candidates?|` +
		`end-of-candidates|ice-[a-z]+|x-candidate[^:]*|alt|altc|source-filter|maddr|path|visited-realm|secondary-realm|` +
		`bundle-only)(?:[: \t]|$)|a=group:BUNDLE(?: |$))`)
	oracleCapable = regexp.MustCompile(`^a=(?:acap|pcfg|acfg):`)
	oracleKeying  = regexp.MustCompile(`^k=|^a=(?:crypto|key-mgmt|fingerprint|setup|tls-id|zrtp-hash|dtls-[a-z]+|encryption|identity)(?:[: ]|$)`)
	oracleNamers  = regexp.MustCompile(`^(?:[co]=|a=(?:rtcp|candidate|remote-candidates?|alt|altc|source-filter|maddr|path)[: ])`)
	oracleSecrets = regexp.MustCompile(`(?:inline:|mikey |k=base64:|k=clear:)([^|; ]+)`)
)

func oracleLines(body string) []string {
	return oracleEnd.Split(body, -1)
}

// oracleInside is every address that the body's own address lines name.
func oracleInside(body string, own netip.Addr) map[string]bool {
	inside := map[string]bool{}
	add := func(s string) {
		s, _, _ = strings.Cut(s, "%")
		if ip := net.ParseIP(s); ip != nil && !ip.IsUnspecified() && ip.String() != own.String() {
			inside[ip.String()] = true
		}
	}
	for _, l := range oracleLines(body) {
		if !oracleNamers.MatchString(l) {
			continue
		}
		for _, s := range oracleIPv4.FindAllString(l, -1) {
			add(s)
		}
		for _, f := range strings.FieldsFunc(l, func(r rune) bool { return r == ' ' || r == '\t' || r == '/' }) {
			add(f)
		}
	}
	return inside
}

// oracleMask puts @ in the place of every inside address, of the own one and of
// inside names, and makes address families equal.
func oracleMask(l string, inside map[string]bool, names []string, own netip.Addr) string {
	isKnown := func(s string) bool {
		s, _, _ = strings.Cut(s, "%")
		ip := net.ParseIP(s)
		return ip != nil && (inside[ip.String()] || ip.String() == own.String())
	}
	l = strings.ReplaceAll(l, "["+own.String()+"]", "@")
	l = oracleIPv6.ReplaceAllStringFunc(l, func(tok string) string {
		if isKnown(tok) {
			return "@"
		}
		if head, tail, _ := strings.Cut(tok, ":"); isKnown(tail) {
			return head + ":@"
		}
		return tok
	})
	l = oracleBounded(l, func(tok string) (string, bool) { return "@", isKnown(tok) })
	l = strings.NewReplacer("[@]", "@", "::ffff:@", "@", "IP4 @", "IP* @", "IP6 @", "IP* @").Replace(l)
	for _, n := range names {
		l = regexp.MustCompile(`(?i)\b`+regexp.QuoteMeta(n)+`\b`).ReplaceAllString(l, "@")
	}
	return l
}

// oracleBounded looks at dotted quads that no digit touches.
func oracleBounded(l string, f func(string) (string, bool)) string {
	var b strings.Builder
	for l != "" {
		m := oracleIPv4.FindStringIndex(l)
		if m == nil {
			break
		}
		tok := l[m[0]:m[1]]
		touched := m[0] > 0 && l[m[0]-1] >= '0' && l[m[0]-1] <= '9' || m[1] < len(l) && l[m[1]] >= '0' && l[m[1]] <= '9'
		if !touched {
			if to, ok := f(tok); ok {
				b.WriteString(l[:m[0]] + to)
				l = l[m[1]:]
				continue
			}
		}
		next := m[0] + 1
		for next < len(l) && l[next] >= '0' && l[next] <= '9' {
			next++ // what begins within a number is no address
		}
		b.WriteString(l[:next])
		l = l[next:]
	}
	return b.String() + l
}

type oracleSection struct {
	m    string
	c    []string
	rest []string
}

// oracleSections cuts a body at its m= lines; the first is the session's.
func oracleSections(body string) []oracleSection {
	s := []oracleSection{{}}
	for _, l := range oracleLines(body) {
		l = strings.TrimLeft(l, " \t\ufeff")
		cur := &s[len(s)-1]
		switch {
		case strings.HasPrefix(l, "m="):
			s = append(s, oracleSection{m: l})
		case strings.HasPrefix(l, "c="):
			cur.c = append(cur.c, l)
		default:
			cur.rest = append(cur.rest, l)
		}
	}
	return s
}

// oracle compares what went into Apply with what came out.
func oracle(t *testing.T, in, out string, r Rewrite) {
	t.Helper()
	inside := oracleInside(in, r.Addr)
	var names []string
	for _, l := range oracleLines(in) {
		if m := oracleNames.FindStringSubmatch(l); m != nil && net.ParseIP(m[1]) == nil {
			names = append(names, m[1])
		}
	}

	// 1. Every carried line is there, in order, unchanged but for inside addresses.
	capable := r.DropKeying || regexp.MustCompile(`(?m)^a=acap:\d+ (?:candidate|ice-)`).MatchString(in)
	carried := func(body string) (kept []string) {
		for _, l := range oracleLines(body) {
			if oracleTouched.MatchString(l) || capable && oracleCapable.MatchString(l) || r.DropKeying && oracleKeying.MatchString(l) || l == "" {
				continue
			}
			kept = append(kept, l)
		}
		return kept
	}
	before, after := carried(in), carried(out)
	for i := range before {
		if i >= len(after) {
			t.Fatalf("line lost: %q and %d more", before[i], len(before)-i-1)
		}
		b, a := before[i], after[i]
		if b == a {
			continue
		}
		mask := names
		if !strings.HasPrefix(b, "a=") {
			mask = nil
		}
		if strings.HasPrefix(b, "a=dh-") || oracleMask(b, inside, mask, r.Addr) != oracleMask(a, inside, mask, r.Addr) {
			t.Fatalf("line %d changed:\n in %q\nout %q", i, b, a)
		}
		if oracleMask(b, inside, mask, r.Addr) == b {
			t.Fatalf("line without an inside address changed:\n in %q\nout %q", b, a)
		}
	}
	if len(after) > len(before) {
		t.Fatalf("line added: %q", after[len(before)])
	}

	// 2. No inside address anywhere.
	for _, l := range oracleLines(out) {
		if strings.HasPrefix(l, "a=dh-") {
			continue
		}
		l = strings.ReplaceAll(l, r.Addr.String(), "#")
		oracleBounded(l, func(tok string) (string, bool) {
			if ip := net.ParseIP(tok); ip != nil && inside[ip.String()] {
				t.Errorf("inside address %s in %q", tok, l)
			}
			return "", false
		})
		for addr := range inside {
			if strings.Contains(addr, ":") && strings.Contains(strings.ToLower(l), addr) {
				t.Errorf("inside address %s in %q", addr, l)
			}
		}
		for _, n := range names {
			if strings.HasPrefix(l, "a=") && oracleMask(l, nil, []string{n}, r.Addr) != oracleMask(l, nil, nil, r.Addr) {
				t.Errorf("inside name %s in %q", n, l)
			}
		}
	}

	// 3. m= lines: all there, nothing but the port changed, and that as asked.
	inS, outS := oracleSections(in), oracleSections(out)
	if len(inS) != len(outS) {
		t.Fatalf("%d m-lines became %d", len(inS)-1, len(outS)-1)
	}
	fam := "IP4"
	hold := "0.0.0.0"
	if r.Addr.Is6() {
		fam, hold = "IP6", "::"
	}
	for i := 1; i < len(inS); i++ {
		bf, af := strings.Fields(inS[i].m), strings.Fields(outS[i].m)
		if len(bf) < 2 {
			if inS[i].m != outS[i].m {
				t.Errorf("%q became %q", inS[i].m, outS[i].m)
			}
			continue
		}
		want := fmt.Sprint(r.Ports[i-1].RTP)
		rejected := strings.HasPrefix(bf[1]+"/", "0/")
		if rejected {
			want = "0"
		}
		if got, _, _ := strings.Cut(af[1], "/"); got != want || !rejected && strings.Contains(af[1], "/") && !strings.HasSuffix(af[1], "/1") {
			t.Errorf("%q became %q, want port %s", inS[i].m, outS[i].m, want)
		}
		bf[1], af[1] = "", ""
		if !slices.Equal(bf, af) {
			t.Errorf("%q became %q", inS[i].m, outS[i].m)
		}

		// 4. c=: our address or a hold; none doubled, none missing.
		ip := func(cs []string) (ip []string) {
			for _, c := range cs {
				if strings.HasPrefix(c, "c=IN ") {
					ip = append(ip, c)
				}
			}
			return ip
		}
		cs := ip(outS[i].c)
		if len(cs) > 1 {
			t.Errorf("c= doubled: %q", cs)
		}
		if len(outS[i].c) == 0 && len(outS[0].c) == 0 {
			t.Errorf("no c= for %q", outS[i].m)
		}
		for _, c := range append(cs, ip(outS[0].c)...) {
			if c != "c=IN "+fam+" "+r.Addr.String() && c != "c=IN "+fam+" "+hold {
				t.Errorf("foreign connection %q", c)
			}
		}

		// 5. RTCP and bundling as the ports say.
		text := "\n" + strings.Join(outS[i].rest, "\n") + "\n"
		mux := strings.Contains(text, "\na=rtcp-mux\n")
		p := r.Ports[i-1]
		isRTP := len(bf) > 2 && strings.Contains(strings.ToUpper(bf[2]), "RTP/") && !strings.Contains(bf[2], "ODD")
		if isRTP && mux != (p.Mux && !rejected && p.RTP != 0) {
			t.Errorf("rtcp-mux %v behind %q, ports %+v", mux, outS[i].m, p)
		}
		if isRTP && !rejected && p.RTP != 0 {
			m := regexp.MustCompile(`\na=rtcp:(\d+)`).FindAllStringSubmatch(text, -1)
			switch {
			case len(m) > 1:
				t.Errorf("a=rtcp doubled behind %q", outS[i].m)
			case len(m) == 1 && m[0][1] != fmt.Sprint(p.RTCP),
				len(m) == 0 && p.RTCP != p.RTP+1 && !(p.Mux && p.RTCP == p.RTP):
				t.Errorf("a=rtcp %v behind %q, ports %+v", m, outS[i].m, p)
			}
		}
	}
	if regexp.MustCompile(`(?m)^a=(?:candidate|remote-cand|end-of-cand|ice-|alt:|altc|group:BUNDLE|bundle-only)`).MatchString(out) {
		t.Error("ICE or bundling left")
	}

	// 6. o=: as many as before, all with our address.
	o := regexp.MustCompile(`(?m)^o=.*$`)
	if n, m := len(o.FindAllString(in, -1)), len(o.FindAllString(out, -1)); n != m {
		t.Errorf("%d o= lines became %d", n, m)
	}
	for _, l := range oracleLines(out) {
		if strings.HasPrefix(l, "o=") && !strings.HasSuffix(l, " IN "+fam+" "+r.Addr.String()) {
			t.Errorf("origin %q", l)
		}
	}

	// 7. Keys.
	if r.DropKeying {
		for _, m := range oracleSecrets.FindAllStringSubmatch(strings.ReplaceAll(in, "\r", ""), -1) {
			if strings.Contains(out, strings.TrimSpace(m[1])) {
				t.Errorf("key %q left", m[1])
			}
		}
		if regexp.MustCompile(`(?m)^(?:k=|a=(?:crypto|key-mgmt|fingerprint|tls-id|zrtp-hash))`).MatchString(out) {
			t.Error("keying left")
		}
	}

	oraclePion(t, in, out, r)
}

// oraclePion asks another reader: what it could read before it can read after,
// and it sees the new ports.
func oraclePion(t *testing.T, in, out string, r Rewrite) {
	t.Helper()
	var before, after pion.SessionDescription
	if before.UnmarshalString(in) != nil {
		return
	}
	if err := after.UnmarshalString(out); err != nil {
		t.Fatalf("no longer readable: %v\n%s", err, out)
	}
	if len(after.MediaDescriptions) != len(before.MediaDescriptions) {
		t.Fatalf("pion sees %d m-lines, before %d", len(after.MediaDescriptions), len(before.MediaDescriptions))
	}
	if after.Origin.UnicastAddress != r.Addr.String() {
		t.Errorf("pion sees origin %s", after.Origin.UnicastAddress)
	}
	for i, m := range after.MediaDescriptions {
		b := before.MediaDescriptions[i]
		want := r.Ports[i].RTP
		if b.MediaName.Port.Value == 0 {
			want = 0
		}
		if m.MediaName.Port.Value != want || !slices.Equal(m.MediaName.Formats, b.MediaName.Formats) || !slices.Equal(m.MediaName.Protos, b.MediaName.Protos) {
			t.Errorf("pion sees %v, before %v", m.MediaName, b.MediaName)
		}
	}
}

// bodies are the fixtures, and the files of another directory where
// SIPWARD_SDP_CORPUS names one.
func bodies(t testing.TB) map[string][]byte {
	t.Helper()
	found := map[string][]byte{}
	dirs := []string{"testdata"}
	if d := os.Getenv("SIPWARD_SDP_CORPUS"); d != "" {
		dirs = append(dirs, d)
	}
	for _, dir := range dirs {
		n := len(found)
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".sdp" {
				return err
			}
			b, err := os.ReadFile(path)
			found[path] = b
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(found) == n {
			t.Fatalf("no *.sdp under %s", dir)
		}
	}
	return found
}

// TestOracle rewrites every body in every way that the calls need.
func TestOracle(t *testing.T) {
	t.Parallel()
	v4, v6 := netip.MustParseAddr("203.0.113.219"), netip.MustParseAddr("2001:db8:ffff::219")
	for path, body := range bodies(t) {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			for _, addr := range []netip.Addr{v4, v6} {
				for _, drop := range []bool{false, true} {
					for kind := range 4 {
						s, err := Parse(body)
						if err != nil {
							t.Fatal(err)
						}
						if got := s.Bytes(); string(got) != string(body) {
							t.Fatalf("round trip:\n%q\n%q", got, body)
						}
						r := Rewrite{Addr: addr, DropKeying: drop, Ports: oraclePorts(len(oracleSections(string(body)))-1, kind)}
						if err := s.Apply(r); err != nil {
							t.Fatal(err)
						}
						oracle(t, string(body), string(s.Bytes()), r)
						if t.Failed() {
							t.Fatalf("%+v:\n%s", r, s.Bytes())
						}
					}
				}
			}
		})
	}
}

// oraclePorts is n pairs of one kind: the usual, RTCP elsewhere, muxed, refused.
func oraclePorts(n, kind int) []Port {
	ports := make([]Port, n)
	for i := range ports {
		rtp := 40000 + 2*i
		ports[i] = []Port{{RTP: rtp, RTCP: rtp + 1}, {RTP: rtp, RTCP: rtp + 1001}, {RTP: rtp, RTCP: rtp, Mux: true}, {}}[kind]
	}
	return ports
}
