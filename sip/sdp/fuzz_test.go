package sdp

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"
)

var fuzzNames = regexp.MustCompile(`^(?:c=IN IP4 |o=\S+ \S+ \S+ IN IP4 )(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})(?:/\d+)?$`)

// FuzzSession holds what every body whatever must keep: Parse and Bytes are
// inverse, and what Apply makes of it reads again, has the same m-lines and no
// address that c= or o= named.
func FuzzSession(f *testing.F) {
	for _, b := range bodies(f) {
		f.Add(b, false, false)
		f.Add(b, true, true)
	}
	f.Fuzz(func(t *testing.T, b []byte, six, drop bool) {
		s, err := Parse(b)
		if err != nil {
			return
		}
		if string(s.Bytes()) != string(b) {
			t.Fatalf("round trip: %q became %q", b, s.Bytes())
		}
		media := s.Media()
		r := Rewrite{Addr: own4, Ports: oraclePorts(len(media), len(b)%4), DropKeying: drop}
		if six {
			r.Addr = own6
		}
		out := s.Clone()
		if err := out.Apply(r); err != nil {
			if err != ErrTooLarge {
				t.Fatal(err)
			}
			return
		}
		if string(s.Bytes()) != string(b) {
			t.Fatal("rewriting the clone changed the original")
		}
		again, err := Parse(out.Bytes())
		if err != nil {
			t.Fatalf("no longer readable: %v: %q", err, out.Bytes())
		}
		after := again.Media()
		if len(after) != len(media) {
			t.Fatalf("%d m-lines became %d: %q", len(media), len(after), out.Bytes())
		}
		for i, m := range after {
			if m.Kind != media[i].Kind && !strings.ContainsAny(m.Kind, ".:") || m.Rejected != (media[i].Rejected || r.Ports[i].RTP == 0 && m.Port == 0) {
				t.Errorf("m-line %d was %+v, is %+v", i, media[i], m)
			}
			if !m.Rejected && m.Port != r.Ports[i].RTP {
				t.Errorf("m-line %d is at port %d", i, m.Port)
			}
		}
		fuzzLeaks(t, string(b), string(out.Bytes()), r.Addr)
		out.DropDH()
		if len(out.DH()) != 0 {
			t.Error("dh-* left")
		}
	})
}

func fuzzLeaks(t *testing.T, in, out string, own netip.Addr) {
	named := map[string]bool{}
	for _, l := range oracleLines(in) {
		if m := fuzzNames.FindStringSubmatch(l); m != nil {
			if a, err := netip.ParseAddr(m[1]); err == nil && !a.IsUnspecified() && a != own {
				named[m[1]] = true
			}
		}
	}
	for _, l := range oracleLines(out) {
		if strings.HasPrefix(strings.TrimLeft(l, " \t\ufeff"), "a=dh-") {
			continue
		}
		l = strings.ReplaceAll(l, own.String(), "#")
		oracleBounded(l, func(tok string) (string, bool) {
			if named[tok] {
				t.Errorf("%s in %q", tok, l)
			}
			return "", false
		})
	}
}

// FuzzFragment: what is read is written and read again alike.
func FuzzFragment(f *testing.F) {
	f.Add([]byte("a=dh-fin:1 AAAA\r\n"))
	f.Add([]byte("a=dh-fin:1 AAAA\na=dh-sig:ed25519 k i s"))
	f.Add([]byte("a=dh-fin\r\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		attrs, err := ParseFragment(b)
		if err != nil {
			return
		}
		for _, a := range attrs {
			if !strings.HasPrefix(a.Name, "dh-") || !strings.Contains(string(b), "a="+a.Name) {
				t.Fatalf("%+v out of %q", a, b)
			}
			if strings.ContainsAny(a.Name+a.Value, "\r\n\x00") {
				return // not written again
			}
		}
		again, err := ParseFragment(Fragment(attrs))
		if err != nil || len(again) != len(attrs) {
			t.Fatalf("%+v became %+v, %v", attrs, again, err)
		}
		for i := range attrs {
			if attrs[i] != again[i] {
				t.Errorf("%+v became %+v", attrs[i], again[i])
			}
		}
	})
}
