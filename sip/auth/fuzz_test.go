package auth

import (
	"crypto/rand"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// FuzzParse gives a challenger and a session anything. What is read must come
// back when it is written and read again, within the bounds; a challenger
// must let nobody in; an answer must hold neither the password nor a line end.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		bobs("n", "00000001"),
		`Digest realm="r", nonce="n", algorithm=SHA-256, qop="auth,auth-int", opaque="", Digest realm="r", nonce="m"`,
		"Digest username=\"a\\\"b\", uri=sip:x;y=z , nc = 1,,\tresponse=\"\"\r\n x=y, Basic abc==, NTLM",
		`Digest realm="example.com`, `Digest a="\`, `=,"`, "Digest \x00=1", "Digest realm=\"\\\x7f\"", `Digest nonce=a\, realm=r`,
		strings.Repeat("Digest a=b, ", 20), "Digest " + strings.Repeat("a=b,", 40),
	} {
		f.Add(s, s[len(s)/2:])
	}
	var secret [32]byte
	rand.Read(secret[:])
	password := hex.EncodeToString(secret[:])
	c := newChallenger(f, Options{Users: passwords{"bob": password, "a": password}})
	f.Fuzz(func(t *testing.T, one, two string) {
		entries := parse([]string{one, two})
		if len(entries) > maxEntries {
			t.Fatalf("%d entries", len(entries))
		}
		for _, e := range entries {
			if len(e.params) == 0 || len(e.params) > maxParams || !strings.EqualFold(e.scheme, "digest") {
				t.Fatalf("%+v", e)
			}
			for i := range e.params { // one reading for each name
				if e.get(e.params[i].name) != e.params[i].value {
					t.Fatalf("%q has two values", e.params[i].name)
				}
			}
			w := e.write()
			again := parse([]string{w})
			if len(again) != 1 || again[0].scheme != e.scheme || !slices.Equal(again[0].params, e.params) {
				t.Fatalf("%q became %+v", w, again)
			}
			// Cut at its commas it reads the same, unless one stood in quotes.
			if !strings.Contains(strings.ReplaceAll(w, ", ", ""), ",") {
				if cut := parse(strings.Split(w, ", ")); len(cut) != 1 || !slices.Equal(cut[0].params, e.params) {
					quoted := slices.ContainsFunc(e.params, func(p param) bool { return strings.Contains(p.value, ",") })
					if !quoted {
						t.Fatalf("%q cut at its commas became %+v", w, cut)
					}
				}
			}
		}
		if res := c.Verify([]string{one, two}, register); res.Verdict > Wrong || res.User != "" {
			t.Fatalf("%+v", res)
		}
		v, err := Answer(Credentials{User: "bob", Password: password}, []string{one, two}, "", register)
		if err == nil {
			if !isPlain(v) || strings.Contains(v, password) {
				t.Fatalf("%q", v)
			}
			// It is read as it was meant: the challenge's texts and the right response.
			es := parse([]string{v})
			if len(es) != 1 {
				t.Fatalf("%q", v)
			}
			e := es[0]
			want := plainResponse(strings.ToUpper(e.get("algorithm")), "bob", e.get("realm"), password, "REGISTER", register.URI, e.get("nonce"), e.get("nc"), e.get("cnonce"), e.get("qop"), "")
			if e.get("response") != want {
				t.Fatalf("%q, want response %s", v, want)
			}
		}
	})
}

// FuzzVerify writes a right answer from any user, password, URI and cnonce in
// one of the ways phones have, and spoils one octet of the response on demand:
// the verdict must follow, and the user must be the one who was meant.
func FuzzVerify(f *testing.F) {
	f.Add("bob", "zanzibar", "sip:alice@example.com", "c", uint32(1), byte(0), byte(0))
	f.Add(`b"o\b`, "p:w", "sip:example.com", "a,b=c", uint32(0xffffffff), byte(7), byte(1))
	f.Add("Jäsøn Doe", "Secret, or not?", "tel:+1", "", uint32(0), byte(0x1b), byte(0))
	f.Fuzz(func(t *testing.T, user, password, uri, cnonce string, nc uint32, way, spoil byte) {
		if user == "" || uri == "" || !isPlain(user+uri+cnonce) || strings.ContainsAny(uri+cnonce, `"\`) || len(user)+len(uri)+len(cnonce) > 1000 ||
			strings.TrimSpace(uri) != uri || uri[0] == '<' {
			t.Skip()
		}
		c := newChallenger(t, Options{Algorithms: byStrength[:], Users: passwords{user: password}})
		n := nonceOf(t, c.Challenge(false)[0])
		a := string(byStrength[way%3])
		count := hex.EncodeToString([]byte{byte(nc >> 24), byte(nc >> 16), byte(nc >> 8), byte(nc)})
		if way&4 != 0 {
			count = strings.TrimLeft(count[:7], "0") + count[7:]
		}
		qop := "auth"
		if way&8 != 0 {
			qop = ""
		}
		resp := plainResponse(a, user, realm, password, "INVITE", uri, n, count, cnonce, qop, "")
		if spoil != 0 {
			i := int(spoil) % len(resp)
			resp = resp[:i] + string("123456789abcdef0"[strings.IndexByte("0123456789abcdef", resp[i])]) + resp[i+1:]
		}
		e := entry{scheme: "Digest", params: []param{
			{"username", escapes.Replace(user), true}, {"realm", realm, way&16 == 0}, {"nonce", n, way&32 == 0},
			{"uri", uri, true}, {"response", resp, way&64 == 0}, {"algorithm", a, way&128 != 0},
		}}
		if qop != "" {
			e.params = append(e.params, param{"qop", qop, way&64 != 0}, param{"nc", count, way&32 != 0}, param{"cnonce", cnonce, true})
		}
		res := c.Verify([]string{e.write()}, Request{Method: "INVITE", URI: uri})
		if (res.Verdict == OK) != (spoil == 0) || res.Verdict == OK && res.User != user {
			t.Fatalf("%+v of %s", res, e.write())
		}
	})
}

// FuzzUsers holds the reading of one line against a reading of its own.
func FuzzUsers(f *testing.F) {
	h, _ := HashLine(SHA256, "bob", realm, "x")
	for _, s := range []string{"bob:zanzibar", "bob:{plain}a:b", h, "bob:example.com:939e7578ed9e3c518a452acee763bce9", "# x", " ", "bob:a:b", "\ufeffbob:x\r", "bob:{x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if strings.Contains(line, "\n") {
			t.Skip()
		}
		a, problems := parseUsers([]byte(line), realm)
		if len(problems)+len(a.ha1) > 1 {
			t.Fatalf("one line: %v, %d users", problems, len(a.ha1))
		}
		for user, have := range a.ha1 {
			text := strings.TrimSuffix(strings.TrimPrefix(line, "\ufeff"), "\r")
			secret, ok := strings.CutPrefix(text, user+":")
			if !ok || strings.ContainsAny(user, ":\"\\") || strings.ContainsFunc(user, unicode.IsControl) || !utf8.ValidString(user) {
				t.Fatalf("%q became user %q", line, user)
			}
			if _, hash, ok := strings.Cut(secret, realm+":"); ok && strings.HasPrefix(secret, realm) {
				_, digits, found := strings.Cut(hash, "}")
				if !found {
					digits = hash
				}
				if !slices.Contains(have[:], strings.ToLower(digits)) {
					t.Fatalf("%q became %v", line, have)
				}
				continue
			}
			password := strings.TrimPrefix(secret, "{plain}")
			for i, alg := range byStrength {
				if r := plainResponse(string(alg), user, realm, password, "M", "u", "n", "1", "c", "auth", ""); r != hex.EncodeToString(alg.response(nil, have[i], proof{"n", "1", "c", "auth", "u"}, "M", nil)) {
					t.Fatalf("%q: %s of another password", line, alg)
				}
			}
			if l, err := HashLine(SHA256, user, realm, password); err != nil {
				t.Fatalf("%q is taken, its hash is not: %v", line, err)
			} else if b, p := parseUsers([]byte(l), realm); len(p) > 0 || b.ha1[user][1] != have[1] {
				t.Fatalf("%q: its hash line reads %v", line, p)
			}
		}
	})
}
