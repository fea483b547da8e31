package vectors

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/mlkem"
	"crypto/mlkem/mlkemtest"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/sipward/sipward/sas"
)

// exchange is one complete exchange: what each end is given, then every value
// that comes of it, in the order of protocol §2 and §3.
type exchange struct {
	Name      string    `json:"name"`
	Roles     []string  `json:"roles"` // which roles an implementation can play
	Initiator initiator `json:"initiator"`
	Responder responder `json:"responder"`
	Chain     hexBytes  `json:"chain_before"` // chain key of the exchange before, empty: none

	Group   string              `json:"group"`
	Suite   string              `json:"suite"`
	Commits map[string]hexBytes `json:"commits"`
	Init    string              `json:"init"`
	Resp    string              `json:"resp"`
	T1      hexBytes            `json:"t1"`
	Fin     string              `json:"fin"`
	T2      hexBytes            `json:"t2"`

	SigsResp []string `json:"sigs_beside_resp"` // in the order in which they are sent
	SigsFin  []string `json:"sigs_beside_fin"`
	SR       hexBytes `json:"sr"`
	SF       hexBytes `json:"sf"`
	T3       hexBytes `json:"t3"`
	Tsas     hexBytes `json:"tsas"`

	Z         hexBytes `json:"z"`
	P         hexBytes `json:"p"`
	C         hexBytes `json:"c"`
	PRK       hexBytes `json:"prk"`
	ChainNext hexBytes `json:"chain"`
	SRTP      []srtp   `json:"srtp"`
	SAS       hexBytes `json:"sas"`
	Words     string   `json:"words"`
	Code      string   `json:"code"`
}

type initiator struct {
	Groups []string            `json:"groups"` // offered, in order
	Suites []string            `json:"suites"` // offered, in order
	X25519 map[string]hexBytes `json:"x25519"` // private key of each group
	Public map[string]hexBytes `json:"public"` // and its public key
	Encaps hexBytes            `json:"encapsulation_randomness,omitempty"`
	Signer *signer             `json:"signer,omitempty"`
}

type responder struct {
	Groups    []string `json:"groups"` // allowed
	Suites    []string `json:"suites"` // allowed
	X25519    hexBytes `json:"x25519"` // private key
	Public    hexBytes `json:"public"`
	MLKEMSeed hexBytes `json:"mlkem_seed,omitempty"` // d ‖ z of FIPS 203
	MLKEMKey  hexBytes `json:"mlkem_encapsulation_key,omitempty"`
	Signer    *signer  `json:"signer,omitempty"`
}

// signer makes an ed25519 signature (protocol §5); Others are further dh-sig
// values that are sent before it, of types that nobody here can check.
type signer struct {
	Seed     hexBytes `json:"ed25519_seed,omitempty"`
	Identity string   `json:"identity,omitempty"`
	Others   []string `json:"others,omitempty"`
}

type srtp struct {
	M             int      `json:"m"`
	InitiatorKey  hexBytes `json:"initiator_key"`
	InitiatorSalt hexBytes `json:"initiator_salt"`
	ResponderKey  hexBytes `json:"responder_key"`
	ResponderSalt hexBytes `json:"responder_salt"`
}

var (
	suiteNames = []string{"AEAD_AES_256_GCM", "AEAD_AES_128_GCM", "AES_256_CM_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_80"}
	keyLens    = map[string]int{"AEAD_AES_256_GCM": 32, "AEAD_AES_128_GCM": 16, "AES_256_CM_HMAC_SHA1_80": 32, "AES_CM_128_HMAC_SHA1_80": 16}
	saltLens   = map[string]int{"AEAD_AES_256_GCM": 12, "AEAD_AES_128_GCM": 12, "AES_256_CM_HMAC_SHA1_80": 14, "AES_CM_128_HMAC_SHA1_80": 14}
)

const (
	classic = "x25519"
	hybrid  = "x25519mlkem768"
)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func lv(b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
}

func sha(parts ...[]byte) hexBytes {
	sum := sha256.Sum256(bytes.Join(parts, nil))
	return sum[:]
}

func commitOf(group string, public []byte) hexBytes {
	return sha([]byte("dh-srtp v1 commit"), []byte{0}, []byte(group), []byte{0}, public)
}

func x25519(t testing.TB, private []byte) *ecdh.PrivateKey {
	t.Helper()
	k, err := ecdh.X25519().NewPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func public(t testing.TB, private []byte) hexBytes { return x25519(t, private).PublicKey().Bytes() }

// compute plays one exchange on paper. x holds what the ends are given; x.Init
// is set where the offer holds what these ends could not write themselves.
func compute(t *testing.T, x *exchange) {
	t.Helper()
	must := func(b []byte, err error) hexBytes {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}

	// dh-init
	x.Commits = map[string]hexBytes{}
	x.Initiator.Public = map[string]hexBytes{}
	var offers []string
	for _, g := range x.Initiator.Groups {
		pub := public(t, x.Initiator.X25519[g])
		x.Initiator.Public[g] = pub
		x.Commits[g] = commitOf(g, pub)
		offers = append(offers, g+"="+b64(x.Commits[g]))
	}
	if x.Init == "" {
		x.Init = "1 " + strings.Join(offers, ",") + " " + strings.Join(x.Initiator.Suites, ",")
	} else {
		for i, g := range x.Initiator.Groups {
			x.Init = strings.ReplaceAll(x.Init, "{"+g+"}", offers[i])
		}
	}

	// Choice: the first of the offer that the responder allows.
	x.Group = x.Initiator.Groups[slices.IndexFunc(x.Initiator.Groups, func(g string) bool { return slices.Contains(x.Responder.Groups, g) })]
	x.Suite = x.Initiator.Suites[slices.IndexFunc(x.Initiator.Suites, func(s string) bool { return slices.Contains(x.Responder.Suites, s) })]

	// dh-resp
	k := x.Initiator.Public[x.Group]
	x.Responder.Public = public(t, x.Responder.X25519)
	respShare := []byte(x.Responder.Public)
	var dk *mlkem.DecapsulationKey768
	if x.Group == hybrid {
		var err error
		if dk, err = mlkem.NewDecapsulationKey768(x.Responder.MLKEMSeed); err != nil {
			t.Fatal(err)
		}
		x.Responder.MLKEMKey = dk.EncapsulationKey().Bytes()
		respShare = append(dk.EncapsulationKey().Bytes(), respShare...)
	}
	x.Resp = "1 " + x.Group + " " + x.Suite + " " + b64(respShare)
	init, resp := lv([]byte(x.Init)), lv([]byte(x.Resp))
	x.T1 = sha([]byte("dh-srtp v1 transcript"), init, resp)

	// dh-fin
	finShare := []byte(k)
	if x.Group == hybrid {
		p, ciphertext, err := mlkemtest.Encapsulate768(dk.EncapsulationKey(), x.Initiator.Encaps)
		if err != nil {
			t.Fatal(err)
		}
		x.P = p
		if back := must(dk.Decapsulate(ciphertext)); !bytes.Equal(back, p) {
			t.Fatal("the responder decapsulates another secret")
		}
		finShare = append(ciphertext, k...)
	}
	x.Fin = "1 " + b64(finShare)
	x.T2 = sha([]byte("dh-srtp v1 transcript"), init, resp, lv([]byte(x.Fin)))

	// Signatures and T3
	x.SigsResp = sign(x.Responder.Signer, "responder", x.T1)
	x.SigsFin = sign(x.Initiator.Signer, "initiator", x.T2)
	x.SR, x.SF = hexBytes{}, hexBytes{}
	for _, s := range slices.Sorted(slices.Values(x.SigsResp)) {
		x.SR = append(x.SR, lv([]byte(s))...)
	}
	for _, s := range slices.Sorted(slices.Values(x.SigsFin)) {
		x.SF = append(x.SF, lv([]byte(s))...)
	}
	x.T3 = sha([]byte("dh-srtp v1 keys"), lv(x.T2), lv(x.SR), lv(x.SF))
	x.Tsas = sha([]byte("dh-srtp v1 sas"), init, resp, lv(k))

	// Keys
	x.Z = must(x25519(t, x.Initiator.X25519[x.Group]).ECDH(x25519(t, x.Responder.X25519).PublicKey()))
	x.C = x.Chain
	if len(x.C) == 0 {
		x.C = make([]byte, 32)
	}
	x.PRK = must(hkdf.Extract(sha256.New, slices.Concat(lv(x.C), lv(x.P), lv(x.Z)), x.T3))
	x.ChainNext = must(hkdf.Expand(sha256.New, x.PRK, "chain", 32))
	n, s := keyLens[x.Suite], saltLens[x.Suite]
	for m := range 2 {
		i := must(hkdf.Expand(sha256.New, x.PRK, "srtp\x00"+x.Suite+"\x00i"+string([]byte{byte(m)}), n+s))
		r := must(hkdf.Expand(sha256.New, x.PRK, "srtp\x00"+x.Suite+"\x00r"+string([]byte{byte(m)}), n+s))
		x.SRTP = append(x.SRTP, srtp{m, i[:n], i[n:], r[:n], r[n:]})
	}
	x.SAS = must(hkdf.Expand(sha256.New, must(hkdf.Extract(sha256.New, x.Z, x.Tsas)), "sas", 4))
	x.Words, x.Code = sas.WordsString([4]byte(x.SAS)), sas.Code([4]byte(x.SAS))
}

// sign gives the dh-sig values of one end: its others, then its own (§5).
func sign(s *signer, role string, transcript []byte) []string {
	if s == nil {
		return []string{}
	}
	values := slices.Clone(s.Others)
	if s.Seed == nil {
		return values
	}
	private := ed25519.NewKeyFromSeed(s.Seed)
	key := b64(private.Public().(ed25519.PublicKey))
	text := slices.Concat([]byte("dh-srtp v1 signature"), []byte{0}, []byte(role), []byte{0}, transcript,
		lv([]byte("ed25519")), lv([]byte(key)), lv([]byte(s.Identity)))
	return append(values, "ed25519 "+key+" "+s.Identity+" "+b64(ed25519.Sign(private, text)))
}

// exchanges are the inputs: each group with each suite, then what is special.
func exchanges(t *testing.T) []*exchange {
	var all []*exchange
	add := func(name, group, suite string) *exchange {
		x := &exchange{
			Name:  name,
			Roles: []string{"initiator", "responder"},
			Initiator: initiator{
				Groups: []string{classic},
				Suites: suiteNames,
				X25519: map[string]hexBytes{classic: secret(name + " initiator " + classic)},
			},
			Responder: responder{
				Groups: []string{classic},
				Suites: []string{suite},
				X25519: secret(name + " responder x25519"),
			},
		}
		if group == hybrid {
			x.Initiator.Groups = []string{hybrid, classic}
			x.Initiator.X25519[hybrid] = secret(name + " initiator " + hybrid)
			x.Initiator.Encaps = secret(name + " initiator encapsulation")
			x.Responder.Groups = []string{classic, hybrid}
			x.Responder.MLKEMSeed = slices.Concat(secret(name+" responder mlkem d"), secret(name+" responder mlkem z"))
		}
		all = append(all, x)
		return x
	}

	first := add("x25519, keys of RFC 7748 6.1", classic, suiteNames[0])
	first.Initiator.X25519[classic] = unhex(t, "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
	first.Responder.X25519 = unhex(t, "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
	for _, g := range []string{classic, hybrid} {
		for _, s := range suiteNames {
			add(g+" "+s, g, s)
		}
	}

	x := add("both groups offered, the responder allows x25519 only", hybrid, suiteNames[0])
	x.Responder.Groups = []string{classic}
	x.Responder.MLKEMSeed, x.Initiator.Encaps = nil, nil

	x = add("the order of the offer counts, not the responder's", classic, suiteNames[0])
	x.Initiator.Suites = []string{suiteNames[3], suiteNames[1]}
	x.Responder.Suites = suiteNames

	x = add("unknown groups and suites in the offer", classic, suiteNames[1])
	x.Roles = []string{"responder"}
	x.Init = "1 future1=A,{" + classic + "},future+2=AB_- FUTURE_SUITE,AEAD_AES_128_GCM,other.suite"

	x = add("rekey x25519", classic, suiteNames[0])
	x.Chain = secret("chain key one")
	x = add("rekey x25519mlkem768", hybrid, suiteNames[0])
	x.Chain = secret("chain key two")

	alice := &signer{Seed: secret("alice ed25519"), Identity: "sip:alice@example.com"}
	bob := &signer{Seed: secret("bob ed25519"), Identity: "sip:bob@example.net"}
	x = add("signature beside dh-resp", classic, suiteNames[0])
	x.Responder.Signer = bob
	x = add("signature beside dh-fin", classic, suiteNames[0])
	x.Initiator.Signer = alice
	x = add("several signatures, sent out of order, unknown types, one twice", classic, suiteNames[1])
	x.Responder.Signer = &signer{bob.Seed, bob.Identity, []string{"zzz k sip:bob@example.net s", "future-type key! sip:bob@example.net sig~"}}
	x.Initiator.Signer = &signer{alice.Seed, alice.Identity, []string{"zz k i s", "z k i s", "zz k i s"}}
	x = add("rekey x25519mlkem768 with signatures", hybrid, suiteNames[2])
	x.Chain = secret("chain key three")
	x.Responder.Signer, x.Initiator.Signer = bob, alice
	return all
}

func TestExchanges(t *testing.T) {
	t.Parallel()
	all := exchanges(t)
	for _, x := range all {
		compute(t, x)
	}
	compare(t, "exchanges.json", all)

	// RFC 7748 6.1 gives this result for these keys.
	if z := unhex(t, "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"); !bytes.Equal(all[0].Z, z) {
		t.Errorf("Z of the keys of RFC 7748 is %x", all[0].Z)
	}
}
