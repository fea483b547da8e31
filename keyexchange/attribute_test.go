package keyexchange

import (
	"encoding/base64"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The forms of protocol §2 once more, as regular expressions that share
// nothing with the parsers. What they cannot say is checked in wellFormed.
const (
	tokenRE = "[A-Za-z0-9!#$%&'*+.^_`{|}~-]+"
	b64RE   = `[A-Za-z0-9_-]+`
)

var formRE = map[string]*regexp.Regexp{
	"dh-init": regexp.MustCompile(`\A1 (` + tokenRE + `=` + b64RE + `(?:,` + tokenRE + `=` + b64RE + `)*) (` + tokenRE + `(?:,` + tokenRE + `)*)\z`),
	"dh-resp": regexp.MustCompile(`\A1 (` + tokenRE + `) ` + tokenRE + ` (` + b64RE + `)\z`),
	"dh-fin":  regexp.MustCompile(`\A1 (` + b64RE + `)\z`),
	"dh-sig":  regexp.MustCompile(`\A([!-~]+) ([!-~]+) [!-~]+ ([!-~]+)\z`),
}

var otherVersionRE = regexp.MustCompile(`\A(0|[1-9][0-9]{0,2})( (?s:.*))?\z`)

// canonical says whether s is base64url of n octets (any number for n below
// zero) that an encoder would have written.
func canonical(s string, n int) bool {
	b, err := base64.RawURLEncoding.DecodeString(s)
	return err == nil && base64.RawURLEncoding.EncodeToString(b) == s && s != "" && (n < 0 || len(b) == n)
}

func unique(items []string) bool {
	items = slices.Sorted(slices.Values(items))
	return len(slices.Compact(items)) == len(strings.Split(strings.Join(items, "\n"), "\n"))
}

// wellFormed is the oracle: absent for another version, else whether the value
// has the form of its attribute.
func wellFormed(name, value string) (ok, absent bool) {
	if name != "dh-sig" && otherVersionRE.MatchString(value) && value != "1" && !strings.HasPrefix(value, "1 ") {
		return false, true
	}
	m := formRE[name].FindStringSubmatch(value)
	if m == nil {
		return false, false
	}
	switch name {
	case "dh-init":
		var groups []string
		for _, o := range strings.Split(m[1], ",") {
			g, commit, _ := strings.Cut(o, "=")
			groups = append(groups, g)
			if (g == "x25519" || g == "x25519mlkem768") && !canonical(commit, 32) {
				return false, false
			}
		}
		return unique(groups) && unique(strings.Split(m[2], ",")), false
	case "dh-resp":
		switch m[1] {
		case "x25519":
			return canonical(m[2], 32), false
		case "x25519mlkem768":
			return canonical(m[2], 1216), false
		}
		return true, false
	case "dh-fin":
		return canonical(m[1], -1), false
	}
	switch m[1] {
	case "ed25519":
		return canonical(m[2], 32) && canonical(m[3], 64), false
	case "openpgp":
		return regexp.MustCompile(`\A([0-9A-F]{40}|[0-9A-F]{64})\z`).MatchString(m[2]) && canonical(m[3], -1), false
	}
	return true, false
}

// parse runs the parser of an attribute and writes what it took back.
func parse(name, value string) (back string, err error) {
	switch name {
	case "dh-init":
		v, err := parseInit(value)
		return v.String(), err
	case "dh-resp":
		v, err := parseResp(value)
		return v.String(), err
	case "dh-fin":
		v, err := parseFin(value)
		return v.String(), err
	}
	v, err := parseSig(value)
	return v.String(), err
}

var attributeNames = []string{"dh-init", "dh-resp", "dh-fin", "dh-sig"}

// FuzzAttribute: the parsers take exactly what the oracle calls well formed,
// and write it back octet for octet.
func FuzzAttribute(f *testing.F) {
	for _, v := range load[vectorMessage](f, "messages.json") {
		for _, found := range v.Found {
			if i := slices.Index(attributeNames, found.Name); i >= 0 {
				f.Add(byte(i), found.Value)
			}
		}
	}
	for _, v := range load[vectorExchange](f, "exchanges.json") {
		f.Add(byte(0), v.Init)
		f.Add(byte(1), v.Resp)
		f.Add(byte(2), v.Fin)
	}
	f.Fuzz(func(t *testing.T, which byte, value string) {
		name := attributeNames[int(which)%len(attributeNames)]
		ok, absent := wellFormed(name, value)
		back, err := parse(name, value)
		var failure *Failure
		switch {
		case absent:
			if !errors.Is(err, errOtherVersion) {
				t.Errorf("%s %q: another version, and the parser says %v", name, value, err)
			}
		case !ok:
			if !errors.As(err, &failure) || failure.Attribute != name {
				t.Errorf("%s %q: a wrong form, and the parser says %v", name, value, err)
			}
		case err != nil:
			t.Errorf("%s %q: well formed, and the parser says %v", name, value, err)
		case back != value:
			t.Errorf("%s %q is written back as %q", name, value, back)
		}
	})
}

// FuzzRead: of any four attributes in any message Read takes at most one, out
// of its place, and a second one beside it is always a failure.
func FuzzRead(f *testing.F) {
	names := append([]string{"dh-future"}, attributeNames...)
	for _, v := range load[vectorMessage](f, "messages.json") {
		kind, all, _ := v.attributes(f)
		var n, p uint32
		values := [4]string{}
		for i, found := range all[:min(4, len(all))] {
			n |= uint32(max(0, slices.Index(names, found.Name))) << (8 * i)
			p |= uint32(found.Place) << (8 * i)
			values[i] = found.Value
		}
		f.Add(byte(kind), n, p, values[0], values[1], values[2], values[3])
	}
	f.Fuzz(func(t *testing.T, kind byte, n, p uint32, a, b, c, d string) {
		k := MessageKind(kind % 6)
		var all []Found
		for i, value := range []string{a, b, c, d} {
			all = append(all, Found{names[int(n>>(8*i)&0xff)%len(names)], value, Place(p >> (8 * i) & 0xff % 5)})
		}
		own, place, signed := k.home()
		got, err := Read(k, all)
		if err != nil {
			checkFailure(t, err)
			if got.Present || got.Value != "" || got.Sigs != nil {
				t.Fatalf("taken beside a failure: %+v", got)
			}
			return
		}
		if !got.Present {
			if got.Value != "" || got.Sigs != nil {
				t.Fatalf("absent and yet %+v", got)
			}
			return
		}
		if !slices.Contains(all, Found{own, got.Value, place}) {
			t.Fatalf("%q stands nowhere in its place", got.Value)
		}
		if ok, _ := wellFormed(own, got.Value); !ok {
			t.Fatalf("%s %q is taken", own, got.Value)
		}
		for _, s := range got.Sigs {
			if ok, _ := wellFormed("dh-sig", s); !ok || !signed || !slices.Contains(all, Found{"dh-sig", s, place}) {
				t.Fatalf("dh-sig %q is taken", s)
			}
		}
		for _, where := range []Place{PlaceOther, PlaceSession, PlaceMedia, PlaceFragment, PlaceHeader} {
			_, err := Read(k, append(slices.Clone(all), Found{own, got.Value, where}))
			checkFailure(t, err)
		}
	})
}
