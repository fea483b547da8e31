package vectors

import (
	"crypto/ed25519"
	"crypto/mlkem"
	"crypto/mlkem/mlkemtest"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// fault is what one end takes in one exchange, one value after the other. What
// each value looks like by itself is in messages.json; here the fault shows
// only against what went before.
type fault struct {
	Name      string     `json:"name"`
	Role      string     `json:"role"` // the role of the end that takes
	Initiator *initiator `json:"initiator,omitempty"`
	Responder *responder `json:"responder,omitempty"`
	Sends     string     `json:"sends"` // the initiator's dh-init, the responder's dh-resp, "" if it sends none
	Takes     []step     `json:"takes"`
}

type step struct {
	Attribute string   `json:"attribute"`
	Value     string   `json:"value"` // "" if the message has none
	Sigs      []string `json:"sigs"`
	Outcome   string   `json:"outcome"` // ok, ignored, absent, failure
}

// lowOrder are the encodings of the points of low order of Curve25519 and its
// twist, also those that are not canonical, without the highest bit.
var lowOrder = []string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
	"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
}

func faults(t *testing.T) []fault {
	const gcm = "AEAD_AES_256_GCM"
	var (
		ki, kh, kr = secret("faults initiator x25519"), secret("faults initiator x25519mlkem768"), secret("faults responder")
		pi, ph, pr = public(t, ki), public(t, kh), public(t, kr)
		seed       = hexBytes(slices.Concat(secret("faults d"), secret("faults z")))
	)
	dk, err := mlkem.NewDecapsulationKey768(seed)
	if err != nil {
		t.Fatal(err)
	}
	ek := dk.EncapsulationKey().Bytes()
	_, ct, err := mlkemtest.Encapsulate768(dk.EncapsulationKey(), secret("faults encapsulation"))
	if err != nil {
		t.Fatal(err)
	}
	low := make([]hexBytes, 0, 2*len(lowOrder))
	for _, s := range lowOrder {
		p := unhex(t, s)
		low = append(low, p)
		p = slices.Clone(p)
		p[31] |= 0x80
		low = append(low, p)
	}
	edkey := ed25519.NewKeyFromSeed(secret("faults ed25519")).Public().(ed25519.PublicKey)
	sig := "ed25519 " + b64(edkey) + " sip:bob@example.net " + b64(make([]byte, 64))

	initOf := func(suites string, offers ...string) string { return "1 " + strings.Join(offers, ",") + " " + suites }
	offerOf := func(group string, key []byte) string { return group + "=" + b64(commitOf(group, key)) }
	respOf := func(group, suite string, share ...[]byte) string {
		return "1 " + group + " " + suite + " " + b64(slices.Concat(share...))
	}
	finOf := func(share ...[]byte) string { return "1 " + b64(slices.Concat(share...)) }

	var all []fault

	// The initiator takes dh-resp.
	initiates := func(name string, groups []string, steps ...step) {
		in := &initiator{Groups: groups, Suites: []string{gcm, suiteNames[3]}, X25519: map[string]hexBytes{}, Public: map[string]hexBytes{}}
		var offers []string
		for _, g := range groups {
			in.X25519[g] = map[string]hexBytes{classic: ki, hybrid: kh}[g]
			in.Public[g] = public(t, in.X25519[g])
			offers = append(offers, offerOf(g, in.Public[g]))
		}
		for i := range steps {
			steps[i].Attribute = "dh-resp"
		}
		all = append(all, fault{Name: "dh-resp: " + name, Role: "initiator", Initiator: in, Sends: initOf(gcm+","+suiteNames[3], offers...), Takes: steps})
	}
	take := func(outcome, value string, sigs ...string) step {
		return step{Value: value, Sigs: append([]string{}, sigs...), Outcome: outcome}
	}
	one, two := []string{classic}, []string{hybrid, classic}
	good, goodH := respOf(classic, gcm, pr), respOf(hybrid, gcm, ek, pr)

	initiates("x25519", one, take("ok", good))
	initiates("x25519mlkem768", two, take("ok", goodH))
	initiates("the second offered group and suite", two, take("ok", respOf(classic, suiteNames[3], pr)))
	initiates("a group that was not offered", one, take("failure", goodH))
	initiates("an unknown group that was not offered", one, take("failure", respOf("future1", gcm, pr)))
	initiates("an optional group that was not offered", one, take("failure", respOf("secp256r1", gcm, []byte{4}, make([]byte, 64))))
	initiates("a suite that was not offered", one, take("failure", respOf(classic, suiteNames[1], pr)))
	initiates("an unknown suite that was not offered", one, take("failure", respOf(classic, "FUTURE_SUITE", pr)))
	initiates("no dh-resp at all, then one in a later answer", one, take("absent", ""), take("ok", good))
	initiates("another version, then version 1", one, take("absent", "2"+good[1:]), take("ok", good))
	initiates("the same octets again", one, take("ok", good), take("ok", good))
	initiates("the same octets again, its signatures are not read from a retransmission", one, take("ok", good, sig), take("ignored", good, "other k i s"), take("ignored", good))
	initiates("other octets later", one, take("ok", good), take("failure", respOf(classic, gcm, pi)), take("failure", good))
	initiates("another suite later", one, take("ok", good), take("failure", respOf(classic, suiteNames[3], pr)))
	initiates("no dh-resp in a later answer", one, take("ok", good), take("absent", ""), take("ok", good))
	initiates("nothing is taken after a failure", one, take("failure", respOf(classic, suiteNames[1], pr)), take("failure", good))
	initiates("signature of a wrong form", one, take("failure", good, "ed25519 k i s"))
	initiates("a fifth signature", one, take("failure", good, sig, sig, sig, sig, sig))
	initiates("four signatures", one, take("ok", good, sig, sig, sig, sig))
	for _, p := range low {
		initiates("point of low order "+b64(p), one, take("failure", respOf(classic, gcm, p)))
	}
	initiates("point of low order in the hybrid group", two, take("failure", respOf(hybrid, gcm, ek, low[0])))
	high := slices.Clone(pr)
	high[31] |= 0x80
	initiates("the highest bit of an X25519 key is masked (RFC 7748 5)", one, take("ok", respOf(classic, gcm, high)))
	nine := unhex(t, // p + 9, the base point
		"f6ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")
	initiates("an X25519 key that is not reduced is taken (RFC 7748 5)", one, take("ok", respOf(classic, gcm, nine)))
	for _, at := range []int{0, 1149} { // the first and the last coefficients of the key
		bad := slices.Clone(ek)
		bad[at], bad[at+1], bad[at+2] = 0xff, 0xff, 0xff
		initiates("ML-KEM key with coefficients not below q, from octet "+strconv.Itoa(at), two, take("failure", respOf(hybrid, gcm, bad, pr)))
	}
	edge := slices.Clone(ek)
	edge[0], edge[1] = 0x01, edge[1]&0xf0|0x0d // 3329, which is q
	initiates("ML-KEM key with a coefficient equal to q", two, take("failure", respOf(hybrid, gcm, edge, pr)))
	edge = slices.Clone(edge)
	edge[0] = 0x00 // 3328
	initiates("ML-KEM key with a coefficient of q-1", two, take("ok", respOf(hybrid, gcm, edge, pr)))

	// The responder takes dh-init and dh-fin.
	responds := func(name string, groups []string, sends string, init step, fins ...step) {
		re := &responder{Groups: groups, Suites: []string{gcm}, X25519: kr, Public: pr}
		if slices.Contains(groups, hybrid) {
			re.MLKEMSeed, re.MLKEMKey = seed, ek
		}
		init.Attribute = "dh-init"
		for i := range fins {
			fins[i].Attribute = "dh-fin"
		}
		all = append(all, fault{Name: name, Role: "responder", Responder: re, Sends: sends, Takes: append([]step{init}, fins...)})
	}
	init := initOf(gcm, offerOf(classic, pi))
	initH := initOf(gcm, offerOf(hybrid, ph), offerOf(classic, pi))
	ok := take("ok", init)
	okH := take("ok", initH)

	responds("dh-init: x25519", two, good, ok, take("ok", finOf(pi)))
	responds("dh-init: x25519mlkem768 is first in the offer", two, goodH, okH, take("ok", finOf(ct, ph)))
	responds("dh-init: x25519mlkem768 is not allowed", one, good, okH, take("ok", finOf(pi)))
	responds("dh-init: unknown groups and suites around the known ones", one, good, take("ok", initOf("FUTURE,"+gcm+",X", "future1=A", offerOf(classic, pi), "future2=B")), take("ok", finOf(pi)))
	responds("dh-init: no group in common", one, "", take("absent", initOf(gcm, offerOf(hybrid, ph), "future1=A")))
	responds("dh-init: no suite in common", one, "", take("absent", initOf(suiteNames[1]+",FUTURE", offerOf(classic, pi))))
	responds("dh-init: unknown groups only", two, "", take("absent", initOf(gcm, "X25519="+b64(commitOf(classic, pi)), "future1=A")))
	responds("dh-init: another version", two, "", take("absent", "2"+init[1:]))
	responds("dh-init: none", two, "", take("absent", ""))
	responds("dh-init: a commitment of a built group that is not allowed must be well formed", one, "", take("failure", initOf(gcm, hybrid+"=AAAA", offerOf(classic, pi))))
	responds("dh-init: a wrong form is a failure also without anything in common", one, "", take("failure", initOf("FUTURE,FUTURE", offerOf(classic, pi))))

	responds("dh-fin: commitment to another key", one, good, ok, take("failure", finOf(ph)))
	flipped := slices.Clone(pi)
	flipped[31] ^= 0x80
	responds("dh-fin: same point, other octets than committed", one, good, ok, take("failure", finOf(flipped)))
	flipped = slices.Clone(pi)
	flipped[0] ^= 1
	responds("dh-fin: one bit of the first octet", one, good, ok, take("failure", finOf(flipped)))
	responds("dh-fin: one bit of the commitment", one, good, take("ok", "1 x25519="+b64(flip(commitOf(classic, pi), 31))+" "+gcm), take("failure", finOf(pi)))
	responds("dh-fin: key of the commitment of the group that was not chosen", two, goodH, okH, take("failure", finOf(ct, pi)))
	responds("dh-fin: key of the commitment of the group that was not chosen, the other way", one, good, okH, take("failure", finOf(ph)))
	responds("dh-fin: commitment made with another group's name", two, goodH, take("ok", initOf(gcm, hybrid+"="+b64(commitOf(classic, ph)))), take("failure", finOf(ct, ph)))
	responds("dh-fin: commitment without its label", one, good, take("ok", "1 x25519="+b64(sha(pi))+" "+gcm), take("failure", finOf(pi)))
	responds("dh-fin: one key for both groups is no fault", two, goodH, take("ok", initOf(gcm, offerOf(hybrid, pi), offerOf(classic, pi))), take("ok", finOf(ct, pi)))
	responds("dh-fin: share of 31 octets", one, good, ok, take("failure", finOf(pi[:31])))
	responds("dh-fin: share of 33 octets", one, good, ok, take("failure", finOf(pi, []byte{0})))
	responds("dh-fin: share of the hybrid group in x25519", one, good, ok, take("failure", finOf(ct, pi)))
	responds("dh-fin: share of x25519 in the hybrid group", two, goodH, okH, take("failure", finOf(ph)))
	responds("dh-fin: hybrid share one octet short", two, goodH, okH, take("failure", finOf(ct[1:], ph)))
	responds("dh-fin: hybrid share one octet long", two, goodH, okH, take("failure", finOf([]byte{0}, ct, ph)))
	responds("dh-fin: hybrid share in the responder's form", two, goodH, okH, take("failure", finOf(ek, ph)))
	for _, p := range low {
		responds("dh-fin: point of low order, committed to "+b64(p), one, good, take("ok", initOf(gcm, offerOf(classic, p))), take("failure", finOf(p)))
	}
	responds("dh-fin: point of low order in the hybrid group", two, goodH, take("ok", initOf(gcm, offerOf(hybrid, low[0]))), take("failure", finOf(ct, low[0])))
	responds("dh-fin: none, then one", one, good, ok, take("absent", ""), take("ok", finOf(pi)))
	responds("dh-fin: another version, then version 1", one, good, ok, take("absent", "3"+finOf(pi)[1:]), take("ok", finOf(pi)))
	responds("dh-fin: the same octets again", one, good, ok, take("ok", finOf(pi)), take("ok", finOf(pi)))
	responds("dh-fin: the same octets again, its signatures are not read from a retransmission", one, good, ok, take("ok", finOf(pi), sig), take("ignored", finOf(pi), "other k i s"), take("ignored", finOf(pi)))
	responds("dh-fin: another ciphertext later", two, goodH, okH, take("ok", finOf(ct, ph)), take("failure", finOf(flip(ct, 0), ph)))
	responds("dh-fin: nothing is taken after a failure", one, good, ok, take("failure", finOf(ph)), take("failure", finOf(pi)))
	responds("dh-fin: signature of a wrong form", one, good, ok, take("failure", finOf(pi), "no"))
	responds("dh-fin: a fifth signature", one, good, ok, take("failure", finOf(pi), sig, sig, sig, sig, sig))
	responds("dh-fin: an altered ciphertext is taken and gives other keys", two, goodH, okH, take("ok", finOf(flip(ct, 100), ph)))
	return all
}

// flip changes one bit of the octet at i.
func flip(b []byte, i int) hexBytes {
	b = slices.Clone(b)
	b[i] ^= 1
	return b
}

func TestFaults(t *testing.T) {
	t.Parallel()
	all := faults(t)
	seen := map[string]bool{}
	for _, f := range all {
		if seen[f.Name] {
			t.Errorf("two vectors are named %q", f.Name)
		}
		seen[f.Name] = true
	}
	compare(t, "faults.json", all)
}
