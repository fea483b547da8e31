package attest

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// vector is what of test/vectors/exchanges.json is about signatures.
type vector struct {
	Name           string
	Initiator      party
	Responder      party
	T1, T2         string
	SigsBesideResp []string `json:"sigs_beside_resp"`
	SigsBesideFin  []string `json:"sigs_beside_fin"`
}

type party struct {
	Signer struct {
		Seed     string `json:"ed25519_seed"`
		Identity string
		Others   []string
	}
}

func TestVectors(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../test/vectors/exchanges.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(b, &vectors); err != nil {
		t.Fatal(err)
	}
	checked := map[Role]int{}
	for _, v := range vectors {
		for _, side := range []struct {
			role   Role
			party  party
			t      string
			values []string
		}{{Responder, v.Responder, v.T1, v.SigsBesideResp}, {Initiator, v.Initiator, v.T2, v.SigsBesideFin}} {
			if len(side.values) == 0 {
				continue
			}
			transcript := [32]byte(unhex(t, side.t))
			signer, err := NewEd25519(unhex(t, side.party.Signer.Seed))
			if err != nil {
				t.Fatal(err)
			}
			own, err := signer.Sign(context.Background(), side.role, transcript, side.party.Signer.Identity)
			if err != nil {
				t.Fatal(err)
			}
			right := 0
			for i, r := range CheckAll(context.Background(), nil, side.role, transcript, side.values) {
				want := Unchecked
				if side.values[i] == own {
					want, right = Right, right+1
				}
				if r.State != want || r.Owned || r.Value.String() != side.values[i] {
					t.Errorf("%s: %q: %+v", v.Name, side.values[i], r)
				}
			}
			if right != 1 {
				t.Errorf("%s: what Sign makes stands there %d times: %s", v.Name, right, own)
			}
			checked[side.role]++
		}
	}
	if checked[Initiator] < 2 || checked[Responder] < 2 {
		t.Errorf("only %v vectors have signatures", checked)
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Each part of what is signed counts.
func TestChangedSignatureIsWrong(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	alice, mallory := testSigner(t, 1), testSigner(t, 2)
	transcript := [32]byte{1, 2, 3}
	s, err := alice.Sign(ctx, Initiator, transcript, "sip:alice@a.example")
	if err != nil {
		t.Fatal(err)
	}
	v, err := Parse(s)
	if err != nil || v.String() != s {
		t.Fatalf("%v, %v", v, err)
	}
	if r := Check(ctx, nil, Initiator, transcript, v); r.State != Right || r.Owned {
		t.Fatalf("%+v", r)
	}
	change := func(f func(*Value)) Value {
		c := v
		f(&c)
		return c
	}
	for _, tt := range []struct {
		name  string
		role  Role
		t     [32]byte
		value Value
		want  State
	}{
		{"role", Responder, transcript, v, Wrong},
		{"transcript", Initiator, [32]byte{1, 2, 4}, v, Wrong},
		{"identity", Initiator, transcript, change(func(v *Value) { v.Identity = "sip:mallory@a.example" }), Wrong},
		{"host in capitals", Initiator, transcript, change(func(v *Value) { v.Identity = "sip:alice@A.example" }), Wrong},
		{"key", Initiator, transcript, change(func(v *Value) { v.Key = mallory.Public() }), Wrong},
		{"signature", Initiator, transcript, change(func(v *Value) { v.Signature = "A" + v.Signature[1:] }), Wrong},
		{"short signature", Initiator, transcript, change(func(v *Value) { v.Signature = v.Signature[:4] }), Wrong},
		{"no base64", Initiator, transcript, change(func(v *Value) { v.Signature = "*" }), Unchecked},
		{"short key", Initiator, transcript, change(func(v *Value) { v.Key = v.Key[:4] }), Unchecked},
		{"type", Initiator, transcript, change(func(v *Value) { v.Type = "ed448" }), Unchecked},
		{"openpgp without keyring", Initiator, transcript, change(func(v *Value) { v.Type = TypeOpenPGP }), Unchecked},
		{"identity with a port", Initiator, transcript, change(func(v *Value) { v.Identity = "sip:alice@a.example:5060" }), Unchecked},
		{"no identity", Initiator, transcript, change(func(v *Value) { v.Identity = "alice" }), Unchecked},
	} {
		if r := Check(ctx, nil, tt.role, tt.t, tt.value); r.State != tt.want || r.Owned || r.Why == "" || r.Value != tt.value {
			t.Errorf("%s: %+v, want %s", tt.name, r, tt.want)
		}
	}
	if r := CheckAll(ctx, nil, Initiator, transcript, []string{"one two", s}); len(r) != 2 || r[0].State != Unchecked || r[1].State != Right {
		t.Errorf("%+v", r)
	}
}

func testSigner(t testing.TB, n byte) *Ed25519 {
	t.Helper()
	seed := make([]byte, 32)
	seed[0] = n
	s, err := NewEd25519(seed)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEd25519Signer(t *testing.T) {
	t.Parallel()
	if _, err := NewEd25519(make([]byte, 31)); err == nil {
		t.Error("31 octets made a key")
	}
	s := testSigner(t, 3)
	for _, identity := range []string{"", "alice", "sip:a@b c", "sips:a@b", "sip:" + strings.Repeat("a", 600) + "@b"} {
		if v, err := s.Sign(context.Background(), Initiator, [32]byte{}, identity); err == nil {
			t.Errorf("%q signed: %s", identity, v)
		}
	}
	key := s.key
	s.Close()
	if v, err := s.Sign(context.Background(), Initiator, [32]byte{}, "sip:a@b"); err == nil {
		t.Errorf("signed after Close: %s", v)
	}
	for _, b := range key {
		if b != 0 {
			t.Fatal("Close has left the key")
		}
	}
}

func TestSameIdentity(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"sip:alice@a.example", "sip:alice@a.example", true},
		{"sip:alice@a.example", "sip:alice@A.EXAMPLE", true},
		{"sip:alice@[2001:db8::1]", "sip:alice@[2001:DB8::1]", true},
		{"sip:alice@a.example", "sip:Alice@a.example", false},
		{"sip:alice@a.example", "sip:alice@b.example", false},
		{"sip:a%6cice@a.example", "sip:alice@a.example", false},
		{"SIP:alice@a.example", "SIP:alice@a.example", false},
		{"sips:alice@a.example", "sips:alice@a.example", false},
		{"sip:alice@a.example:5060", "sip:alice@a.example:5060", false},
		{"sip:alice@[::1]:5060", "sip:alice@[::1]:5060", false},
		{"sip:alice@a.example;x=y", "sip:alice@a.example;x=y", false},
		{"sip:alice@a@b", "sip:alice@a@b", false},
		{"sip:a.example", "sip:a.example", false},
		{"sip:@a.example", "sip:@a.example", false},
		{"sip:alice@", "sip:alice@", false},
		{"sip:alice@[]", "sip:alice@[]", false},
		{"sip:al ice@a", "sip:al ice@a", false},
		{"sip:alice@\u212a.example", "sip:alice@k.example", false}, // the Kelvin sign
		{"sip:alice@k.example", "sip:alice@K.example", true},
		{"", "", false},
	} {
		if got := SameIdentity(tt.a, tt.b); got != tt.want {
			t.Errorf("%q, %q: %v", tt.a, tt.b, got)
		}
	}
}

func TestHolds(t *testing.T) {
	t.Parallel()
	const alice = "sip:alice@a.example"
	for _, tt := range []struct {
		userID string
		want   bool
	}{
		{"alice@a.example", true},
		{"sip:alice@a.example", true},
		{" alice@A.example ", true},
		{"Alice <alice@a.example>", true},
		{"Alice (office) <sip:alice@a.example>", true},
		{"<alice@a.example>", true},
		{"bob@a.example <alice@a.example>", true},
		{"alice@a.example <bob@a.example>", false},
		{"alice@a.example (Alice)", false},
		{"Alice alice@a.example", false},
		{"Alice <alice@a.example> ", true},
		{"Alice <alice@a.example> x", false},
		{"Alice <alice@a.example.evil>", false},
		{"Alice <malice@a.example>", false},
		{"Alice <mailto:alice@a.example>", false},
		{"Alice <sips:alice@a.example>", false},
		{"Alice", false},
		{"", false},
	} {
		if got := Holds(tt.userID, alice); got != tt.want {
			t.Errorf("%q: %v", tt.userID, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	s, err := testSigner(f, 4).Sign(context.Background(), Responder, [32]byte{}, "sip:a@b.example")
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{s, "a b c d", "openpgp 00 sip:a@b.example AA", "a  c d", " a b c", "a b c ", "a b c d e", "a b c \u212a", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := Parse(s)
		if err != nil {
			if v != (Value{}) {
				t.Errorf("%q: %v beside an error", s, v)
			}
			return
		}
		if v.String() != s {
			t.Errorf("%q became %q", s, v.String())
		}
		// What was not signed with this transcript is never right.
		if r := Check(context.Background(), nil, Responder, [32]byte{1}, v); r.State == Right || r.Owned || r.Why == "" {
			t.Errorf("%q: %+v", s, r)
		}
	})
}
