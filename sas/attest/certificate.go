package attest

import (
	"crypto"
	"crypto/rsa"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// minRSA is the length below which an RSA key counts for nothing, in bits.
const minRSA = 2048

// strongHash says whether a digest counts: in a signature as in what binds a name
// or a subkey to a key. SHA-1, MD5, RIPEMD-160 and SHA-224 do not.
func strongHash(h crypto.Hash) bool {
	switch h {
	case crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA3_256, crypto.SHA3_512:
		return true
	}
	return false
}

// certificate is one OpenPGP key: a primary key, the names and subkeys bound to it.
type certificate struct {
	fingerprint string
	entity      *openpgp.Entity

	mu      sync.Mutex
	judged  *standing
	atEpoch int64 // the second that judged is of
}

func newCertificate(e *openpgp.Entity) *certificate {
	return &certificate{fingerprint: hexOf(e.PrimaryKey), entity: e}
}

func hexOf(k *packet.PublicKey) string {
	return strings.ToUpper(hex.EncodeToString(k.Fingerprint))
}

// standing is what a certificate is worth at one time. It is never changed.
type standing struct {
	why   string       // why the whole counts for nothing; "" where it counts
	keys  []signingKey // all that could have made a signature
	names []string     // user IDs in force
}

// signingKey is a key with the reason why its signatures do not count, "" where
// they do.
type signingKey struct {
	key *packet.PublicKey
	why string
}

// at judges a certificate, once for each second in which it is asked.
func (c *certificate) at(now time.Time) *standing {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.judged == nil || c.atEpoch != now.Unix() {
		// The library notes at what it has looked once, with the time of then, and
		// never looks again.
		c.forget()
		c.judged, c.atEpoch = c.judge(now), now.Unix()
	}
	return c.judged
}

func (c *certificate) forget() {
	e := c.entity
	clear := func(lists ...[]*packet.VerifiableSignature) {
		for _, sigs := range lists {
			for _, s := range sigs {
				s.Valid = nil
			}
		}
	}
	clear(e.Revocations, e.DirectSignatures)
	for _, id := range e.Identities {
		clear(id.SelfCertifications, id.Revocations)
	}
	for i := range e.Subkeys {
		clear(e.Subkeys[i].Bindings, e.Subkeys[i].Revocations)
	}
}

// openpgpConfig has the library hold self-signatures to strong digests.
func openpgpConfig(now time.Time) *packet.Config {
	weak := map[crypto.Hash]bool{crypto.MD5: true, crypto.SHA1: true, crypto.RIPEMD160: true, crypto.SHA224: true}
	return &packet.Config{Time: func() time.Time { return now }, MinRSABits: minRSA, RejectHashAlgorithms: weak, RejectMessageHashAlgorithms: weak}
}

func (c *certificate) judge(now time.Time) *standing {
	e, config, name := c.entity, openpgpConfig(now), "the OpenPGP key "+c.fingerprint
	s := &standing{}
	self, err := e.VerifyPrimaryKey(now, config)
	switch weak := weakKey(e.PrimaryKey); {
	case e.Revoked(now):
		s.why = name + " is revoked"
	case weak != "":
		s.why = name + " is " + weak
	case self != nil && e.PrimaryKey.KeyExpired(self, now):
		s.why = name + " is expired"
	case err != nil:
		s.why = name + " is expired, or no strong self-signature binds a name to it"
	}
	if s.why != "" {
		return s
	}
	primary := signingKey{key: e.PrimaryKey}
	if !self.FlagsValid || !self.FlagSign {
		primary.why = name + " may not sign, only its subkeys may"
	}
	s.keys = append(s.keys, primary)
	for i := range e.Subkeys {
		sub := &e.Subkeys[i]
		s.keys = append(s.keys, signingKey{sub.PublicKey, weakSubkey(sub, now, config)})
	}
	for _, id := range slices.Sorted(maps.Keys(e.Identities)) {
		if c.inForce(e.Identities[id], now, config) {
			s.names = append(s.names, id)
		}
	}
	return s
}

// inForce says whether a user ID is bound to the key by a strong signature and
// was not taken back. To take it back a weak one is enough.
func (c *certificate) inForce(id *openpgp.Identity, now time.Time, config *packet.Config) bool {
	self, err := id.Verify(now, config)
	if err != nil {
		return false
	}
	return !slices.ContainsFunc(id.Revocations, func(r *packet.VerifiableSignature) bool {
		return !r.Packet.CreationTime.Before(self.CreationTime) &&
			c.entity.PrimaryKey.VerifyUserIdSignature(id.Name, c.entity.PrimaryKey, r.Packet) == nil
	})
}

// weakSubkey says why signatures of a subkey do not count.
func weakSubkey(sub *openpgp.Subkey, now time.Time, config *packet.Config) string {
	name := "the subkey " + hexOf(sub.PublicKey)
	if sub.Revoked(nil, now) {
		return name + " is revoked"
	}
	binding, err := sub.Verify(now, config)
	switch {
	case err != nil:
		return name + " is expired, or no strong signature binds it"
	case !binding.FlagsValid || !binding.FlagSign:
		return name + " may not sign"
	case binding.EmbeddedSignature == nil || !strongHash(binding.EmbeddedSignature.Hash):
		return name + " has not signed itself that it belongs to its key"
	}
	if weak := weakKey(sub.PublicKey); weak != "" {
		return name + " is " + weak
	}
	return ""
}

// weakKey says what is weak about a key, "" where nothing is.
func weakKey(k *packet.PublicKey) string {
	switch k.PubKeyAlgo {
	case packet.PubKeyAlgoRSA, packet.PubKeyAlgoRSASignOnly:
		public, ok := k.PublicKey.(*rsa.PublicKey)
		if !ok || public.N.BitLen() < minRSA {
			bits := 0
			if ok {
				bits = public.N.BitLen()
			}
			return fmt.Sprintf("an RSA key of %d bits, and %d are needed", bits, minRSA)
		}
		return ""
	case packet.PubKeyAlgoECDSA, packet.PubKeyAlgoEdDSA:
		if curve, err := k.Curve(); err != nil || curve == packet.CurveSecP256k1 {
			return "of a curve that does not count"
		}
		return ""
	case packet.PubKeyAlgoEd25519, packet.PubKeyAlgoEd448, packet.PubKeyAlgoMldsa65Ed25519, packet.PubKeyAlgoMldsa87Ed448:
		return ""
	}
	return "of an algorithm that does not count"
}

// verify checks a signature by the key or one of its signing subkeys.
//
// The time that stands in a signature is not looked at: the text is new in each
// call, so the signature is, and clocks may differ.
func (c *certificate) verify(text, signature []byte, now time.Time) Result {
	s := c.at(now)
	if s.why != "" {
		return Result{Why: s.why}
	}
	sig, err := readSignature(signature)
	if err != nil {
		if unsupported(err) {
			return Result{Why: "the OpenPGP signature is of a kind that is not known here"}
		}
		return Result{State: Wrong, Why: "it is not one binary OpenPGP signature"}
	}
	if why := notCounting(sig, now); why != "" {
		return Result{Why: why}
	}
	named := false
	for _, k := range s.keys {
		if !madeBy(sig, k.key) {
			continue
		}
		named = true
		h, err := sig.PrepareVerify()
		if err != nil {
			return Result{Why: "the OpenPGP signature is of a kind that is not known here"}
		}
		h.Write(text)
		if k.key.VerifySignature(h, sig) != nil {
			continue
		}
		if k.why != "" {
			return Result{Why: k.why}
		}
		return Result{State: Right, Why: "signed by the OpenPGP key " + c.fingerprint}
	}
	if !named {
		return Result{Why: "it is by a subkey that the keyring does not have of the OpenPGP key " + c.fingerprint}
	}
	return Result{State: Wrong, Why: "the signature is not by the key that it names, or not of this call"}
}

// madeBy says whether a signature claims to be by a key. One that names none may
// be by any.
func madeBy(sig *packet.Signature, k *packet.PublicKey) bool {
	if sig.IssuerKeyId == nil && len(sig.IssuerFingerprint) == 0 {
		return k.CanSign()
	}
	return k.CanSign() && sig.CheckKeyIdOrFingerprint(k)
}

// owns says whether a user ID in force that accept lets through names an identity.
func (c *certificate) owns(identity string, now time.Time, accept func(userID string) bool) bool {
	return slices.ContainsFunc(c.at(now).names, func(name string) bool {
		return Holds(name, identity) && accept(name)
	})
}

// signs says whether the certificate has a key whose signatures count.
func (c *certificate) signs(now time.Time) bool {
	s := c.at(now)
	return s.why == "" && slices.ContainsFunc(s.keys, func(k signingKey) bool { return k.why == "" })
}

// Holds says whether an OpenPGP user ID names an identity: sip:user@host or
// user@host, alone or in angle brackets behind a name (protocol section 5).
func Holds(userID, identity string) bool { return SameIdentity(addressOf(userID), identity) }

// addressOf takes the address out of a user ID and gives it as an identity. What
// it gives need not be one.
func addressOf(userID string) string {
	address := strings.TrimSpace(userID)
	if open := strings.LastIndexByte(address, '<'); open >= 0 && strings.HasSuffix(address, ">") {
		address = address[open+1 : len(address)-1]
	}
	if !strings.HasPrefix(address, "sip:") {
		address = "sip:" + address
	}
	return address
}
