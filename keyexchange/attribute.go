package keyexchange

import (
	"encoding/base64"
	"strings"
)

// The forms of the attribute values (protocol §2). They are exact: whatever a
// parser here accepts, its String writes back octet for octet, so that two
// implementations never read two things out of one transcript.

// offer is one group of a dh-init.
type offer struct {
	group  string
	commit [hashLen]byte // of a built group
	raw    string        // the commit of any other group, never decoded
}

// initValue is the value of a dh-init.
type initValue struct {
	offers []offer
	suites []string
}

// respValue is the value of a dh-resp.
type respValue struct {
	group, suite string
	share        []byte // of a built group: of that group's length
	raw          string // the share of any other group, never decoded
}

// finValue is the value of a dh-fin. Which length is right depends on the
// group of the dh-resp before it.
type finValue struct {
	share []byte
}

// sigValue is the value of a dh-sig.
type sigValue struct {
	typ, key, identity, signature string
}

// parseInit reads the value of a dh-init. Its error is a *Failure or
// errOtherVersion, as that of the other parsers.
func parseInit(value string) (initValue, error) {
	wrong := func(reason string) (initValue, error) { return initValue{}, failure("dh-init", reason) }
	rest, err := version("dh-init", value)
	if err != nil {
		return initValue{}, err
	}
	fields, ok := split(rest, 2)
	if !ok {
		return wrong("it is not a version, a list of groups and a list of suites with one space between them")
	}
	var v initValue
	seen := make(map[string]bool)
	for item := range strings.SplitSeq(fields[0], ",") {
		name, commit, found := strings.Cut(item, "=")
		if !found || !isToken(name) || !isBase64(commit) {
			return wrong("a group in it is not a name, an equals sign and a commitment in base64url")
		}
		if seen[name] {
			return wrong("a group stands in it twice")
		}
		seen[name] = true
		o := offer{group: name, raw: commit}
		if _, built := builtGroup(name); built {
			b, ok := decode(commit, hashLen)
			if !ok {
				return wrong("a commitment in it is not 32 octets of base64url")
			}
			o.raw = ""
			o.commit = [hashLen]byte(b)
		}
		v.offers = append(v.offers, o)
	}
	clear(seen)
	for name := range strings.SplitSeq(fields[1], ",") {
		if !isToken(name) {
			return wrong("a suite in it is not a name")
		}
		if seen[name] {
			return wrong("a suite stands in it twice")
		}
		seen[name] = true
		v.suites = append(v.suites, name)
	}
	return v, nil
}

// String is the inverse of parseInit.
func (v initValue) String() string {
	var b strings.Builder
	b.WriteString("1 ")
	for i, o := range v.offers {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(o.group)
		b.WriteByte('=')
		if _, built := builtGroup(o.group); built {
			b.WriteString(encode(o.commit[:]))
		} else {
			b.WriteString(o.raw)
		}
	}
	b.WriteByte(' ')
	b.WriteString(strings.Join(v.suites, ","))
	return b.String()
}

// parseResp reads the value of a dh-resp.
func parseResp(value string) (respValue, error) {
	wrong := func(reason string) (respValue, error) { return respValue{}, failure("dh-resp", reason) }
	rest, err := version("dh-resp", value)
	if err != nil {
		return respValue{}, err
	}
	fields, ok := split(rest, 3)
	if !ok {
		return wrong("it is not a version, a group, a suite and a share with one space between them")
	}
	v := respValue{group: fields[0], suite: fields[1], raw: fields[2]}
	if !isToken(v.group) || !isToken(v.suite) || !isBase64(v.raw) {
		return wrong("its group or suite is not a name or its share is not base64url")
	}
	if g, built := builtGroup(v.group); built {
		if v.share, ok = decode(v.raw, g.respLen); !ok {
			return wrong("its share does not have the form of the group that it names")
		}
		v.raw = ""
	}
	return v, nil
}

// String is the inverse of parseResp.
func (v respValue) String() string {
	share := v.raw
	if _, built := builtGroup(v.group); built {
		share = encode(v.share)
	}
	return "1 " + v.group + " " + v.suite + " " + share
}

// parseFin reads the value of a dh-fin.
func parseFin(value string) (finValue, error) {
	rest, err := version("dh-fin", value)
	if err != nil {
		return finValue{}, err
	}
	share, ok := decode(rest, base64.RawURLEncoding.DecodedLen(len(rest)))
	if !ok {
		return finValue{}, failure("dh-fin", "it is not a version and a share in base64url with one space between them")
	}
	return finValue{share: share}, nil
}

// String is the inverse of parseFin.
func (v finValue) String() string { return "1 " + encode(v.share) }

// Lengths of what a dh-sig of type ed25519 holds, in octets (RFC 8032).
const (
	ed25519KeyLen = 32
	ed25519SigLen = 64
)

// parseSig reads the value of a dh-sig. It has no version; its type takes that
// place, and an unknown type is held to four fields of visible ASCII.
func parseSig(value string) (sigValue, error) {
	wrong := func(reason string) (sigValue, error) { return sigValue{}, failure("dh-sig", reason) }
	fields, ok := split(value, 4)
	if !ok {
		return wrong("it is not a type, a key, an identity and a signature with one space between them")
	}
	for _, f := range fields {
		if !isVisible(f) {
			return wrong("it holds an octet that is not visible ASCII")
		}
	}
	v := sigValue{fields[0], fields[1], fields[2], fields[3]}
	switch v.typ {
	case "ed25519":
		if _, ok := decode(v.key, ed25519KeyLen); !ok {
			return wrong("its ed25519 key is not 32 octets of base64url")
		}
		if _, ok := decode(v.signature, ed25519SigLen); !ok {
			return wrong("its ed25519 signature is not 64 octets of base64url")
		}
	case "openpgp":
		if !isFingerprint(v.key) {
			return wrong("its key is not an OpenPGP fingerprint of 40 or 64 upper-case hex digits")
		}
		if _, ok := decode(v.signature, base64.RawURLEncoding.DecodedLen(len(v.signature))); !ok {
			return wrong("its OpenPGP signature is not base64url")
		}
	}
	return v, nil
}

// String is the inverse of parseSig.
func (v sigValue) String() string {
	return v.typ + " " + v.key + " " + v.identity + " " + v.signature
}

// version takes the version off the front of a value and gives what follows
// the space behind it. The version is 0 or 1 to 3 digits without a leading
// zero.
func version(attribute, value string) (rest string, err error) {
	number, rest, found := strings.Cut(value, " ")
	if !isVersion(number) {
		return "", failure(attribute, "its version is not a number of 1 to 3 digits without a leading zero")
	}
	if number != "1" {
		return "", errOtherVersion
	}
	if !found {
		return "", failure(attribute, "nothing stands behind its version")
	}
	return rest, nil
}

func isVersion(s string) bool {
	if len(s) < 1 || len(s) > 3 || len(s) > 1 && s[0] == '0' {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// split cuts s into exactly n fields with one space between them.
func split(s string, n int) (fields []string, ok bool) {
	fields = strings.SplitN(s, " ", n+1) // one more than allowed is enough to know
	if len(fields) != n {
		return nil, false
	}
	for _, f := range fields {
		if f == "" {
			return nil, false
		}
	}
	return fields, true
}

// isToken tells a token of RFC 8866 §9: visible ASCII without separators.
func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isAlphanumeric(c) && strings.IndexByte("!#$%&'*+-.^_`{|}~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// isBase64 tells 1*base64url: one or more octets of the alphabet of RFC 4648 §5.
func isBase64(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isAlphanumeric(c) && c != '-' && c != '_' {
			return false
		}
	}
	return s != ""
}

func isVisible(s string) bool {
	for i := range len(s) {
		if s[i] < 0x21 || s[i] > 0x7e {
			return false
		}
	}
	return s != ""
}

func isFingerprint(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return len(s) == 40 || len(s) == 64
}

func isAlphanumeric(c byte) bool {
	return 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9'
}

// decode reads base64url without padding that holds exactly n octets and whose
// unused bits are zero. The alphabet is checked first because the library
// skips line breaks.
func decode(s string, n int) ([]byte, bool) {
	if len(s) != base64.RawURLEncoding.EncodedLen(n) || !isBase64(s) {
		return nil, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return b, err == nil
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
