package srtp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/binary"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/sipward/sipward/media/srtp/aria"
)

// reference is SRTP written down from the RFCs' formulas, slowly and with
// every index given: what Context is compared with.
type reference struct {
	suite             string
	rtpKey, rtcpKey   []byte
	rtpAuth, rtcpAuth []byte
	rtpSalt, rtcpSalt []byte
}

func newReference(suite string, key, salt []byte) *reference {
	return &reference{
		suite:  suite,
		rtpKey: derived(suite, key, salt, 0, len(key)), rtpAuth: derived(suite, key, salt, 1, 20), rtpSalt: derived(suite, key, salt, 2, len(salt)),
		rtcpKey: derived(suite, key, salt, 3, len(key)), rtcpAuth: derived(suite, key, salt, 4, 20), rtcpSalt: derived(suite, key, salt, 5, len(salt)),
	}
}

func (r *reference) aead() bool { return strings.Contains(r.suite, "AEAD_") }

// derived is RFC 3711 §4.3.1 with a key derivation rate of 0.
func derived(suite string, key, salt []byte, label byte, n int) []byte {
	var iv [16]byte
	copy(iv[:14], salt)
	iv[7] ^= label
	return keystream(suite, key, iv, n)
}

func keystream(suite string, key []byte, iv [16]byte, n int) []byte {
	out := make([]byte, n)
	cipher.NewCTR(blockOf(suite, key), iv[:]).XORKeyStream(out, out)
	return out
}

func blockOf(suite string, key []byte) cipher.Block {
	b, err := aes.NewCipher(key)
	if strings.Contains(suite, "ARIA") {
		b, err = aria.NewCipher(key)
	}
	if err != nil {
		panic(err)
	}
	return b
}

// counter is the initial counter block of RFC 3711 §4.1.1.
func counter(salt []byte, ssrc uint32, index uint64) (iv [16]byte) {
	copy(iv[:14], salt)
	var x [16]byte
	binary.BigEndian.PutUint32(x[4:], ssrc)
	binary.BigEndian.PutUint16(x[8:], uint16(index>>32))
	binary.BigEndian.PutUint32(x[10:], uint32(index))
	for i := range iv {
		iv[i] ^= x[i]
	}
	return iv
}

func mac(key []byte, parts ...[]byte) []byte {
	h := hmac.New(sha1.New, key)
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)[:10]
}

// nonce is the 12-octet IV of RFC 7714 §8.1 and §9.1.
func nonce(salt []byte, ssrc uint32, index uint64) []byte {
	iv := make([]byte, 12)
	binary.BigEndian.PutUint32(iv[2:], ssrc)
	binary.BigEndian.PutUint16(iv[6:], uint16(index>>32))
	binary.BigEndian.PutUint32(iv[8:], uint32(index))
	for i := range iv {
		iv[i] ^= salt[i]
	}
	return iv
}

func aeadOf(suite string, key []byte) cipher.AEAD {
	if strings.Contains(suite, "CHACHA20") {
		a, err := chacha20poly1305.New(key)
		if err != nil {
			panic(err)
		}
		return a
	}
	a, err := cipher.NewGCM(blockOf(suite, key))
	if err != nil {
		panic(err)
	}
	return a
}

// protect protects an RTP packet whose header has the given length.
func (r *reference) protect(pkt []byte, header int, roc uint32) []byte {
	ssrc := binary.BigEndian.Uint32(pkt[8:])
	index := uint64(roc)<<16 | uint64(binary.BigEndian.Uint16(pkt[2:]))
	out := append([]byte(nil), pkt[:header]...)
	if r.aead() {
		return aeadOf(r.suite, r.rtpKey).Seal(out, nonce(r.rtpSalt, ssrc, index), pkt[header:], pkt[:header])
	}
	stream := keystream(r.suite, r.rtpKey, counter(r.rtpSalt, ssrc, index), len(pkt)-header)
	for i, b := range pkt[header:] {
		out = append(out, b^stream[i])
	}
	return append(out, mac(r.rtpAuth, out, binary.BigEndian.AppendUint32(nil, roc))...)
}

func (r *reference) protectRTCP(pkt []byte, index uint32) []byte {
	ssrc := binary.BigEndian.Uint32(pkt[4:])
	word := binary.BigEndian.AppendUint32(nil, 1<<31|index)
	out := append([]byte(nil), pkt[:8]...)
	if r.aead() {
		aad := append(append([]byte(nil), pkt[:8]...), word...)
		return append(aeadOf(r.suite, r.rtcpKey).Seal(out, nonce(r.rtcpSalt, ssrc, uint64(index)), pkt[8:], aad), word...)
	}
	stream := keystream(r.suite, r.rtcpKey, counter(r.rtcpSalt, ssrc, uint64(index)), len(pkt)-8)
	for i, b := range pkt[8:] {
		out = append(out, b^stream[i])
	}
	out = append(out, word...)
	return append(out, mac(r.rtcpAuth, out)...)
}
