package keyexchange

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"hash"
	"io"
	"slices"
)

// The hashes of protocol §2 (commit) and §3 (T1, T2, T3, Tsas). Every one
// starts with a label of its own; every part of variable length in the
// transcript stands behind its length.

// writeLV writes x behind its length as 4 octets, big-endian.
func writeLV(h hash.Hash, x string) {
	var n [4]byte
	binary.BigEndian.PutUint32(n[:], uint32(len(x)))
	h.Write(n[:])
	io.WriteString(h, x)
}

func hashLV(label string, parts ...string) (sum [hashLen]byte) {
	h := sha256.New()
	io.WriteString(h, label)
	for _, p := range parts {
		writeLV(h, p)
	}
	h.Sum(sum[:0])
	return sum
}

// commitment is what a dh-init holds for a group: the hash of the initiator's
// committed key, which is its X25519 public key in both groups.
func commitment(group string, key []byte) (sum [hashLen]byte) {
	h := sha256.New()
	io.WriteString(h, "dh-srtp v1 commit\x00"+group+"\x00")
	h.Write(key)
	h.Sum(sum[:0])
	return sum
}

// commitmentMatches tells in constant time whether key opens the commitment
// that was made for group. Without it the responder would give the short
// authentication string away to whoever stands between.
func commitmentMatches(commit [hashLen]byte, group string, key []byte) bool {
	return equalHashes(commit, commitment(group, key))
}

// equalHashes compares in constant time.
func equalHashes(a, b [hashLen]byte) bool {
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// transcript1 is T1, which the responder signs.
func transcript1(init, resp string) [hashLen]byte {
	return hashLV("dh-srtp v1 transcript", init, resp)
}

// transcript2 is T2, which the initiator signs.
func transcript2(init, resp, fin string) [hashLen]byte {
	return hashLV("dh-srtp v1 transcript", init, resp, fin)
}

// bindSignatures is T3: T2 with every dh-sig that stood beside dh-resp and
// beside dh-fin, checked or not, so that a signature taken out, put in or
// exchanged on the way leaves the ends with different keys. Their order does
// not matter, because attributes may be reordered by those who carry them.
func bindSignatures(t2 [hashLen]byte, besideResp, besideFin []string) [hashLen]byte {
	return hashLV("dh-srtp v1 keys", string(t2[:]), sortedLV(besideResp), sortedLV(besideFin))
}

// sortedLV is SR and SF: the values in ascending order of their octets, each
// behind its length.
func sortedLV(values []string) string {
	var b []byte
	for _, v := range slices.Sorted(slices.Values(values)) {
		b = binary.BigEndian.AppendUint32(b, uint32(len(v)))
		b = append(b, v...)
	}
	return string(b)
}

// transcriptSAS is Tsas. key is the initiator's committed key; the ML-KEM
// ciphertext is not in it, because the initiator chooses that after it has
// seen the responder's share.
func transcriptSAS(init, resp string, key []byte) [hashLen]byte {
	return hashLV("dh-srtp v1 sas", init, resp, string(key))
}
