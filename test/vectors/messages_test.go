package vectors

import (
	"crypto/mlkem"
	"slices"
	"strings"
	"testing"
)

// message is one message's attributes and how they are judged (protocol §2).
// Each has at most one fault.
type message struct {
	Name    string  `json:"name"`
	Kind    string  `json:"kind"`
	Found   []found `json:"found"`
	Outcome string  `json:"outcome"` // ok, ignored, absent, failure
	// Taken is the value of the message's own attribute, "" if none is taken.
	Taken string   `json:"taken"`
	Sigs  []string `json:"sigs"` // the dh-sig values taken with it
}

type found struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	Place   string `json:"place"`
	Ignored bool   `json:"ignored,omitempty"` // outcome ignored: as if it were not there
}

// form is one value of an attribute: well formed, or with one fault.
type form struct {
	name, value string
}

// messages lists every rule of protocol §2 that one message can break, and
// what must not fail although it looks odd.
func messages(t *testing.T) []message {
	pub := public(t, secret("messages x25519"))
	commit := b64(commitOf(classic, pub))
	commitH := b64(commitOf(hybrid, pub))
	dk, err := mlkem.NewDecapsulationKey768(slices.Concat(secret("messages d"), secret("messages z")))
	if err != nil {
		t.Fatal(err)
	}
	ek := dk.EncapsulationKey().Bytes()
	share := b64(pub)
	shareH := b64(slices.Concat(ek, pub))
	finH := b64(slices.Concat(make([]byte, 1088), pub))
	key, sig := b64(secret("messages ed25519")), b64(slices.Concat(secret("messages s1"), secret("messages s2")))

	init := "1 x25519=" + commit + " AEAD_AES_256_GCM,AES_CM_128_HMAC_SHA1_80"
	resp := "1 x25519 AEAD_AES_256_GCM " + share
	fin := "1 " + share
	edsig := "ed25519 " + key + " sip:bob@example.net " + sig

	// The last character of 32 octets in base64 has two unused bits. The value
	// that share ends with is even there, so the next character sets one.
	unused := func(s string) string { return s[:len(s)-1] + string(nextChar(s[len(s)-1])) }

	var all []message
	add := func(outcome, kind, name string, fs ...found) {
		m := message{Name: name, Kind: kind, Found: fs, Outcome: outcome, Sigs: []string{}}
		own := map[string]string{"invite": "dh-init", "invite-no-sdp": "dh-init", "answer": "dh-resp", "ack": "dh-fin", "ack-sdp": "dh-fin"}[kind]
		if outcome == "ok" || outcome == "ignored" {
			for _, f := range fs {
				switch {
				case f.Ignored:
				case f.Name == own:
					m.Taken = f.Value
				case f.Name == "dh-sig":
					m.Sigs = append(m.Sigs, f.Value)
				}
			}
		}
		all = append(all, m)
	}
	at := func(place, name, value string) found { return found{Name: name, Value: value, Place: place} }
	skip := func(place, name, value string) found { return found{name, value, place, true} }

	// dh-init: well formed
	for _, f := range []form{
		{"one group", init},
		{"both groups", "1 x25519mlkem768=" + commitH + ",x25519=" + commit + " AEAD_AES_128_GCM"},
		{"unknown group before a known one", "1 future1=abcd,x25519=" + commit + " AEAD_AES_256_GCM"},
		{"unknown groups only", "1 future1=abcd,future2=_-_- AEAD_AES_256_GCM"},
		{"optional group of the registry, well formed", "1 x25519=" + commit + ",secp256r1=" + commit + " AEAD_AES_256_GCM"},
		{"unknown group, its value is not decoded: one character", "1 future1=A,x25519=" + commit + " AEAD_AES_256_GCM"},
		{"unknown group, its value is not decoded: unused bits set", "1 future1=AB,x25519=" + commit + " AEAD_AES_256_GCM"},
		{"unknown group, its value is not decoded: long", "1 future1=" + strings.Repeat("A", 300) + ",x25519=" + commit + " AEAD_AES_256_GCM"},
		{"unknown group with every character of a token", "1 aZ09!#$%&'*+-.^_`{|}~=abcd,x25519=" + commit + " AEAD_AES_256_GCM"},
		{"group names have a case: X25519 is unknown", "1 X25519=abcd AEAD_AES_256_GCM"},
		{"unknown suites", "1 x25519=" + commit + " FUTURE_SUITE,AEAD_AES_256_GCM,another+one"},
		{"unknown suites only", "1 x25519=" + commit + " FUTURE_SUITE"},
		{"a group's name as a suite", "1 x25519=" + commit + " x25519,AEAD_AES_256_GCM"},
	} {
		add("ok", "invite", "dh-init, "+f.name, at("session", "dh-init", f.value))
	}

	// dh-init: wrong forms
	for _, f := range []form{
		{"two spaces behind the version", "1  x25519=" + commit + " AEAD_AES_256_GCM"},
		{"two spaces between groups and suites", "1 x25519=" + commit + "  AEAD_AES_256_GCM"},
		{"space at the start", " " + init},
		{"space at the end", init + " "},
		{"tab instead of a space", "1 x25519=" + commit + "\tAEAD_AES_256_GCM"},
		{"tab behind the version", "1\tx25519=" + commit + " AEAD_AES_256_GCM"},
		{"a further field", init + " more"},
		{"no suites", "1 x25519=" + commit},
		{"version only", "1"},
		{"version and a space", "1 "},
		{"no value", ""},
		{"comma at the end of the groups", "1 x25519=" + commit + ", AEAD_AES_256_GCM"},
		{"comma at the start of the groups", "1 ,x25519=" + commit + " AEAD_AES_256_GCM"},
		{"comma at the end of the suites", "1 x25519=" + commit + " AEAD_AES_256_GCM,"},
		{"comma at the start of the suites", "1 x25519=" + commit + " ,AEAD_AES_256_GCM"},
		{"two commas between suites", "1 x25519=" + commit + " AEAD_AES_256_GCM,,AEAD_AES_128_GCM"},
		{"space behind a comma", "1 x25519=" + commit + " AEAD_AES_256_GCM, AEAD_AES_128_GCM"},
		{"a group twice", "1 x25519=" + commit + ",x25519=" + commit + " AEAD_AES_256_GCM"},
		{"an unknown group twice", "1 future1=A,x25519=" + commit + ",future1=B AEAD_AES_256_GCM"},
		{"a suite twice", "1 x25519=" + commit + " AEAD_AES_256_GCM,AEAD_AES_256_GCM"},
		{"an unknown suite twice", "1 x25519=" + commit + " FUTURE,AEAD_AES_256_GCM,FUTURE"},
		{"group without an equals sign", "1 x25519 AEAD_AES_256_GCM"},
		{"group without a commitment", "1 x25519= AEAD_AES_256_GCM"},
		{"commitment without a group", "1 =" + commit + " AEAD_AES_256_GCM"},
		{"commitment of 31 octets", "1 x25519=" + b64(pub[:31]) + " AEAD_AES_256_GCM"},
		{"commitment of 33 octets", "1 x25519=" + b64(append(slices.Clone(pub), 0)) + " AEAD_AES_256_GCM"},
		{"commitment of the other built group of 31 octets", "1 x25519mlkem768=" + b64(pub[:31]) + ",x25519=" + commit + " AEAD_AES_256_GCM"},
		{"commitment with padding", "1 x25519=" + commit + "= AEAD_AES_256_GCM"},
		{"commitment with unused bits set", "1 x25519=" + unused(commit) + " AEAD_AES_256_GCM"},
		{"commitment with + of the other base64 alphabet", "1 x25519=+" + commit[1:] + " AEAD_AES_256_GCM"},
		{"commitment with / of the other base64 alphabet", "1 x25519=/" + commit[1:] + " AEAD_AES_256_GCM"},
		{"commitment with a line feed within", "1 x25519=" + commit[:20] + "\n" + commit[20:] + " AEAD_AES_256_GCM"},
		{"commitment with a line feed in place of a character", "1 x25519=" + commit[:20] + "\n" + commit[21:] + " AEAD_AES_256_GCM"},
		{"commitment with a carriage return within", "1 x25519=" + commit[:20] + "\r" + commit[20:] + " AEAD_AES_256_GCM"},
		{"commitment with a NUL", "1 x25519=\x00" + commit[1:] + " AEAD_AES_256_GCM"},
		{"unknown group without a value", "1 future1=,x25519=" + commit + " AEAD_AES_256_GCM"},
		{"unknown group, value with padding", "1 future1=abc=,x25519=" + commit + " AEAD_AES_256_GCM"},
		{"unknown group, value outside the alphabet", "1 future1=ab+d,x25519=" + commit + " AEAD_AES_256_GCM"},
		{"group's name is no token", "1 fut(ure=abcd,x25519=" + commit + " AEAD_AES_256_GCM"},
		{"group's name beyond ASCII", "1 futüre=abcd,x25519=" + commit + " AEAD_AES_256_GCM"},
		{"suite's name is no token", "1 x25519=" + commit + " AEAD_AES_256_GCM,FUT/URE"},
		{"suite with an equals sign", "1 x25519=" + commit + " AEAD_AES_256_GCM=1"},
		{"suite's name beyond ASCII", "1 x25519=" + commit + " AEAD_AES_256_GCM,FUTÜRE"},
		{"carriage return at the end", init + "\r"},
		{"line feed at the end", init + "\n"},
		{"NUL at the end", init + "\x00"},
	} {
		add("failure", "invite", "dh-init, "+f.name, at("session", "dh-init", f.value))
	}

	// Versions, the same for the three attributes that have one
	for _, a := range []struct{ kind, place, name, value string }{
		{"invite", "session", "dh-init", init},
		{"invite-no-sdp", "header", "dh-init", init},
		{"answer", "session", "dh-resp", resp},
		{"ack", "fragment", "dh-fin", fin},
	} {
		rest := a.value[1:]
		where := a.name + " of " + a.kind + ", "
		add("ok", a.kind, where+"version 1", at(a.place, a.name, a.value))
		for _, v := range []string{"0", "2", "10", "999"} {
			add("absent", a.kind, where+"version "+v, at(a.place, a.name, v+rest))
		}
		add("absent", a.kind, where+"version 2 and nothing else", at(a.place, a.name, "2"))
		add("absent", a.kind, where+"version 2 in a form of its own", at(a.place, a.name, "2  a;b = \t"))
		for _, v := range []string{"01", "00", "001", "1000", "+1", "-1", "1.0", "x", "1x", "0x1", ""} {
			add("failure", a.kind, where+"version of a wrong form ("+v+")", at(a.place, a.name, v+rest))
		}
		add("ignored", a.kind, where+"version 2 before version 1", skip(a.place, a.name, "2"+rest), at(a.place, a.name, a.value))
		add("ignored", a.kind, where+"versions 2, 3 and 0 behind version 1", at(a.place, a.name, a.value), skip(a.place, a.name, "2 a"), skip("media", a.name, "3"), skip("other", a.name, "0 b"))
		add("failure", a.kind, where+"version of a wrong form beside version 1", at(a.place, a.name, a.value), at(a.place, a.name, "01"+rest))
		add("failure", a.kind, where+"twice, the same octets", at(a.place, a.name, a.value), at(a.place, a.name, a.value))
		for _, p := range []string{"session", "media", "fragment", "header", "other"} {
			if p == a.place {
				continue
			}
			add("failure", a.kind, where+"a second one, place: "+p, at(a.place, a.name, a.value), at(p, a.name, a.value))
			add("failure", a.kind, where+"a second one of a wrong form, place: "+p, at(p, a.name, "1"), at(a.place, a.name, a.value))
			add("failure", a.kind, where+"twice and never in its place: "+p, at(p, a.name, a.value), at(p, a.name, a.value))
			add("absent", a.kind, where+"only in a wrong place: "+p, at(p, a.name, a.value))
			add("absent", a.kind, where+"of a wrong form, only in a wrong place: "+p, at(p, a.name, "1"))
		}
		add("ignored", a.kind, where+"unknown attributes beside it", skip(a.place, "dh-future", "1 x"), at(a.place, a.name, a.value), skip(a.place, "dh-future", "1 x"), skip("media", "dh", ""))
		for _, other := range []string{"dh-init", "dh-resp", "dh-fin"} {
			if other != a.name {
				add("ignored", a.kind, where+"beside "+other+" of another message, twice, of a wrong form", skip(a.place, other, "1"), at(a.place, a.name, a.value), skip(a.place, other, ""))
				add("absent", a.kind, where+"only "+other+" of another message, twice", at(a.place, other, "1"), at(a.place, other, "1"))
			}
		}
		add("absent", "other", where+"in a message without attributes of its own, twice", at(a.place, a.name, a.value), at(a.place, a.name, "01"))
		add("absent", a.kind, where+"none", found{Name: "dh-future", Value: "1", Place: a.place})
	}
	add("absent", "invite", "no attribute at all")

	// Signatures beside dh-init
	six := []found{at("session", "dh-init", init)}
	for range 6 {
		six = append(six, skip("session", "dh-sig", "not a signature"))
	}
	add("ignored", "invite", "dh-init with six dh-sig of a wrong form: no dh-sig belongs to an INVITE", six...)

	// dh-resp
	for _, f := range []form{
		{"x25519", resp},
		{"x25519mlkem768", "1 x25519mlkem768 AEAD_AES_128_GCM " + shareH},
	} {
		add("ok", "answer", "dh-resp, "+f.name, at("session", "dh-resp", f.value))
	}
	for _, f := range []form{
		{"share of 31 octets", "1 x25519 AEAD_AES_256_GCM " + b64(pub[:31])},
		{"share of 33 octets", "1 x25519 AEAD_AES_256_GCM " + b64(append(slices.Clone(pub), 0))},
		{"share of the hybrid group in x25519", "1 x25519 AEAD_AES_256_GCM " + shareH},
		{"share of x25519 in the hybrid group", "1 x25519mlkem768 AEAD_AES_256_GCM " + share},
		{"hybrid share one octet short", "1 x25519mlkem768 AEAD_AES_256_GCM " + b64(slices.Concat(ek, pub[:31]))},
		{"hybrid share one octet long", "1 x25519mlkem768 AEAD_AES_256_GCM " + b64(slices.Concat(ek, pub, []byte{0}))},
		{"hybrid share without its X25519 key", "1 x25519mlkem768 AEAD_AES_256_GCM " + b64(ek)},
		{"hybrid share with the initiator's lengths", "1 x25519mlkem768 AEAD_AES_256_GCM " + finH},
		{"share with padding", resp + "="},
		{"share with unused bits set", unused(resp)},
		{"share with a line feed within", resp[:len(resp)-9] + "\n" + resp[len(resp)-9:]},
		{"share with a character of the other base64 alphabet", resp[:len(resp)-2] + "/" + resp[len(resp)-1:]},
		{"no share", "1 x25519 AEAD_AES_256_GCM"},
		{"empty share", "1 x25519 AEAD_AES_256_GCM "},
		{"no suite", "1 x25519 " + share},
		{"a further field", resp + " more"},
		{"two suites", "1 x25519 AEAD_AES_256_GCM,AEAD_AES_128_GCM " + share},
		{"group with an equals sign", "1 x25519=" + commit + " AEAD_AES_256_GCM " + share},
		{"two spaces", "1 x25519  AEAD_AES_256_GCM " + share},
		{"space at the end", resp + " "},
		{"space at the start", " " + resp},
		{"carriage return at the end", resp + "\r"},
	} {
		add("failure", "answer", "dh-resp, "+f.name, at("session", "dh-resp", f.value))
	}

	// dh-fin. Which length its share must have depends on the group: faults.json.
	add("ok", "ack", "dh-fin, x25519", at("fragment", "dh-fin", fin))
	add("ok", "ack", "dh-fin, x25519mlkem768", at("fragment", "dh-fin", "1 "+finH))
	add("ok", "ack-sdp", "dh-fin in the answer of a delayed offer", at("session", "dh-fin", fin))
	add("failure", "ack-sdp", "dh-fin in the answer and a second one in a dh-sdpfrag", at("session", "dh-fin", fin), at("fragment", "dh-fin", fin))
	add("absent", "ack-sdp", "dh-fin only in a dh-sdpfrag beside SDP", at("fragment", "dh-fin", fin))
	for _, f := range []form{
		{"version only", "1"},
		{"empty share", "1 "},
		{"a further field", fin + " more"},
		{"a group before the share", "1 x25519 " + share},
		{"share with padding", fin + "="},
		{"share with unused bits set", unused(fin)},
		{"share with a number of characters that no octets have", fin + "AA"},
		{"share with a line feed within", fin[:9] + "\n" + fin[9:]},
		{"share with a carriage return and line feed at the end", fin + "\r\n"},
		{"share with a character of the other base64 alphabet", fin[:9] + "+" + fin[10:]},
		{"two spaces", "1  " + share},
		{"space at the end", fin + " "},
		{"space at the start", " " + fin},
	} {
		add("failure", "ack", "dh-fin, "+f.name, at("fragment", "dh-fin", f.value))
	}

	// dh-sig, beside dh-resp and beside dh-fin
	fp40, fp64 := strings.Repeat("0123456789ABCDEF0123", 2), strings.Repeat("0123456789ABCDEF", 4)
	for _, a := range []struct{ kind, place, name, value string }{
		{"answer", "session", "dh-resp", resp},
		{"ack", "fragment", "dh-fin", fin},
		{"ack-sdp", "session", "dh-fin", fin},
	} {
		own := at(a.place, a.name, a.value)
		where := "dh-sig beside " + a.name + " of " + a.kind + ", "
		for _, f := range []form{
			{"ed25519", edsig},
			{"openpgp, fingerprint of 40 digits", "openpgp " + fp40 + " sip:bob@example.net " + sig},
			{"openpgp, fingerprint of 64 digits", "openpgp " + fp64 + " sip:bob@example.net " + b64(make([]byte, 119))},
			{"unknown type, four fields of visible ASCII", "x!y key=,; \"<id>\" ~"},
			{"types have a case: ED25519 is unknown", "ED25519 k i s"},
			{"a version is an unknown type", "2 k i s"},
		} {
			add("ok", a.kind, where+f.name, own, at(a.place, "dh-sig", f.value))
			add("ok", a.kind, where+f.name+", before it", at(a.place, "dh-sig", f.value), own)
		}
		four := []found{own}
		for range 4 {
			four = append(four, at(a.place, "dh-sig", edsig))
		}
		add("ok", a.kind, where+"four, all the same", four...)
		add("failure", a.kind, where+"five", append(slices.Clone(four), at(a.place, "dh-sig", "other k i s"))...)
		add("failure", a.kind, where+"four and one in a wrong place", append(slices.Clone(four), at("media", "dh-sig", "other k i s"))...)
		add("ignored", a.kind, where+"one in a wrong place", own, at(a.place, "dh-sig", edsig), skip("media", "dh-sig", "other k i s"))
		add("ignored", a.kind, where+"one of a wrong form in a wrong place", own, skip("other", "dh-sig", "no"))
		for _, f := range []form{
			{"empty", ""},
			{"three fields", "type k i"},
			{"five fields", edsig + " more"},
			{"two spaces", "type  k i s"},
			{"space at the end", edsig + " "},
			{"space at the start", " " + edsig},
			{"tab within a field", "type k\ti s x"},
			{"octet beyond ASCII", "type k sip:bøb@example.net s"},
			{"DEL", "type k \x7f s"},
			{"carriage return at the end", edsig + "\r"},
			{"ed25519 key of 31 octets", "ed25519 " + b64(pub[:31]) + " sip:bob@example.net " + sig},
			{"ed25519 key with unused bits set", "ed25519 " + unused(key) + " sip:bob@example.net " + sig},
			{"ed25519 key with padding", "ed25519 " + key + "= sip:bob@example.net " + sig},
			{"ed25519 signature of 63 octets", "ed25519 " + key + " sip:bob@example.net " + sig[:84]},
			{"ed25519 signature with unused bits set", unused(edsig)},
			{"openpgp, fingerprint of 39 digits", "openpgp " + fp40[1:] + " sip:bob@example.net " + sig},
			{"openpgp, fingerprint in lower case", "openpgp " + strings.ToLower(fp40) + " sip:bob@example.net " + sig},
			{"openpgp, fingerprint with 0x before it", "openpgp 0x" + fp40[2:] + " sip:bob@example.net " + sig},
			{"openpgp, signature with a number of characters that no octets have", "openpgp " + fp40 + " sip:bob@example.net AAAAA"},
			{"openpgp, signature with unused bits set", "openpgp " + fp40 + " sip:bob@example.net AB"},
			{"openpgp, signature outside the alphabet", "openpgp " + fp40 + " sip:bob@example.net " + "+" + sig[1:]},
		} {
			add("failure", a.kind, where+f.name, own, at(a.place, "dh-sig", f.value))
		}
		var alone []found
		for range 6 {
			alone = append(alone, at(a.place, "dh-sig", "no signature"))
		}
		add("absent", a.kind, where+"six of a wrong form and nothing to stand beside", alone...)
		add("absent", a.kind, where+"six of a wrong form beside another version", append(alone, at(a.place, a.name, "2"))...)
	}
	return all
}

// nextChar is the base64url character one above c, whose lowest bit is zero in
// a value without unused bits set.
func nextChar(c byte) byte {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return alphabet[strings.IndexByte(alphabet, c)|1]
}

func TestMessages(t *testing.T) {
	t.Parallel()
	all := messages(t)
	seen := map[string]bool{}
	for _, m := range all {
		if seen[m.Kind+m.Name] {
			t.Errorf("two vectors are named %q", m.Name)
		}
		seen[m.Kind+m.Name] = true
		if m.Outcome == "ok" && m.Taken == "" {
			t.Errorf("%s: ok but nothing is taken", m.Name)
		}
	}
	compare(t, "messages.json", all)
}
