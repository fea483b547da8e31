package keyexchange

import (
	"bytes"
	"crypto/mlkem"
	"crypto/mlkem/mlkemtest"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// The vectors of test/vectors, which are computed there without this package,
// played through both roles.

type hexBytes []byte

func (h *hexBytes) UnmarshalText(b []byte) (err error) {
	*h, err = hex.DecodeString(string(b))
	return err
}

type vectorInitiator struct {
	Groups, Suites []string
	X25519         map[string]hexBytes
	Encaps         hexBytes `json:"encapsulation_randomness"`
}

type vectorResponder struct {
	Groups, Suites []string
	X25519         hexBytes
	MLKEMSeed      hexBytes `json:"mlkem_seed"`
}

type vectorExchange struct {
	Name                  string
	Roles                 []string
	Initiator             vectorInitiator
	Responder             vectorResponder
	ChainBefore           hexBytes `json:"chain_before"`
	Group, Suite          string
	Commits               map[string]hexBytes
	Init, Resp, Fin       string
	SigsResp              []string `json:"sigs_beside_resp"`
	SigsFin               []string `json:"sigs_beside_fin"`
	SR, SF, T1, T2, T3    hexBytes
	Tsas, Z, P, C, PRK    hexBytes
	Chain                 hexBytes
	SRTP                  []vectorSRTP
	SAS                   hexBytes
	Words, Code, Comments string
}

type vectorSRTP struct {
	M             int
	InitiatorKey  hexBytes `json:"initiator_key"`
	InitiatorSalt hexBytes `json:"initiator_salt"`
	ResponderKey  hexBytes `json:"responder_key"`
	ResponderSalt hexBytes `json:"responder_salt"`
}

func load[T any](t testing.TB, file string) (all []T) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "test", "vectors", file))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal(file, "holds no vector")
	}
	return all
}

func suitesNamed(t testing.TB, names []string) (suites []Suite) {
	t.Helper()
	for _, n := range names {
		s, ok := findSuite(Suites(), n)
		if !ok {
			t.Fatalf("suite %q is not built", n)
		}
		suites = append(suites, s)
	}
	return suites
}

// config draws private keys from the vector: one of each group, in order.
func (v vectorInitiator) config(t testing.TB) Config {
	t.Helper()
	var b []byte
	for _, g := range v.Groups {
		b = append(b, v.X25519[g]...)
	}
	return Config{
		Groups: v.Groups,
		Suites: suitesNamed(t, v.Suites),
		Rand:   bytes.NewReader(b),
		encapsulate: func(ek *mlkem.EncapsulationKey768) (shared, ciphertext []byte) {
			random := []byte(v.Encaps)
			if random == nil {
				random = make([]byte, 32)
			}
			shared, ciphertext, err := mlkemtest.Encapsulate768(ek, random)
			if err != nil {
				t.Fatal(err)
			}
			return shared, ciphertext
		},
	}
}

// config draws private keys from the vector: the ML-KEM seed if group is
// hybrid, then the X25519 key.
func (v vectorResponder) config(t testing.TB, group string) Config {
	t.Helper()
	b := []byte(v.X25519)
	if group == GroupX25519MLKEM768 {
		b = slices.Concat(v.MLKEMSeed, v.X25519)
	}
	return Config{Groups: v.Groups, Suites: suitesNamed(t, v.Suites), Rand: bytes.NewReader(b)}
}

func taken(value string, sigs ...string) Attrs {
	return Attrs{Value: value, Present: value != "", Sigs: sigs}
}

func TestVectorExchanges(t *testing.T) {
	t.Parallel()
	for _, v := range load[vectorExchange](t, "exchanges.json") {
		for _, role := range v.Roles {
			t.Run(v.Name+"/"+role, func(t *testing.T) {
				t.Parallel()
				chain := []byte(v.ChainBefore)
				if len(chain) == 0 {
					chain = nil
				}
				var x *Exchange
				if role == "initiator" {
					x = playInitiator(t, v, chain)
				} else {
					x = playResponder(t, v, chain)
				}
				checkKeyed(t, v, x)
			})
		}
	}
}

func playInitiator(t *testing.T, v vectorExchange, chain []byte) *Exchange {
	x, err := NewInitiator(v.Initiator.config(t), chain)
	if err != nil {
		t.Fatal(err)
	}
	if x.Init() != v.Init {
		t.Fatalf("dh-init\n got %s\nwant %s", x.Init(), v.Init)
	}
	fin, err := x.TakeResp(taken(v.Resp, v.SigsResp...))
	if err != nil {
		t.Fatal(err)
	}
	if fin != v.Fin {
		t.Fatalf("dh-fin\n got %s\nwant %s", fin, v.Fin)
	}
	checkOctets(t, "Z", x.z, v.Z)
	checkOctets(t, "P", x.p, v.P)
	checkOctets(t, "C", x.c[:], v.C)
	if err := x.SetSignatures(v.SigsFin); err != nil {
		t.Fatal(err)
	}
	if got := x.PeerSignatures(); !slices.Equal(got, v.SigsResp) {
		t.Errorf("signatures of the peer %q", got)
	}
	return x
}

func playResponder(t *testing.T, v vectorExchange, chain []byte) *Exchange {
	x, resp, err := NewResponder(v.Responder.config(t, v.Group), taken(v.Init), chain)
	if err != nil {
		t.Fatal(err)
	}
	if resp != v.Resp {
		t.Fatalf("dh-resp\n got %s\nwant %s", resp, v.Resp)
	}
	if err := x.SetSignatures(v.SigsResp); err != nil {
		t.Fatal(err)
	}
	if err := x.TakeFin(taken(v.Fin, v.SigsFin...)); err != nil {
		t.Fatal(err)
	}
	if got := x.PeerSignatures(); !slices.Equal(got, v.SigsFin) {
		t.Errorf("signatures of the peer %q", got)
	}
	return x
}

func checkKeyed(t *testing.T, v vectorExchange, x *Exchange) {
	t.Helper()
	if x.Group() != v.Group || x.Suite().Name != v.Suite {
		t.Errorf("%s and %s chosen, want %s and %s", x.Group(), x.Suite().Name, v.Group, v.Suite)
	}
	for _, s := range v.SRTP {
		k, err := x.Keys(s.M)
		if err != nil {
			t.Fatal(err)
		}
		i, r := k.Send, k.Recv
		if !x.Initiator() {
			i, r = r, i
		}
		checkOctets(t, "initiator's key", i.Key, s.InitiatorKey)
		checkOctets(t, "initiator's salt", i.Salt, s.InitiatorSalt)
		checkOctets(t, "responder's key", r.Key, s.ResponderKey)
		checkOctets(t, "responder's salt", r.Salt, s.ResponderSalt)
	}
	t1, t2 := x.T1(), x.T2()
	checkOctets(t, "T1", t1[:], v.T1)
	checkOctets(t, "T2", t2[:], v.T2)
	t3 := bindSignatures(t2, v.SigsResp, v.SigsFin)
	checkOctets(t, "T3", t3[:], v.T3)
	checkOctets(t, "prk", x.prk, v.PRK)
	checkOctets(t, "chain", x.Chain(), v.Chain)
	sas, ok := x.SAS()
	if !ok {
		t.Error("no SAS")
	}
	checkOctets(t, "SAS", sas[:], v.SAS)
}

func checkOctets(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s\n got %x\nwant %x", what, got, want)
	}
}
