package mitm

import (
	"bytes"
	"crypto/mlkem"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/sipward/sipward/keyexchange"
)

// wire is how the houses reach each other, and so in which group they agree.
type wire struct {
	stream bool // TCP, and then the hybrid group first
}

var (
	datagrams = wire{}
	stream    = wire{stream: true}
)

func (w wire) groups() []string {
	if w.stream {
		return []string{keyexchange.GroupX25519MLKEM768, keyexchange.GroupX25519}
	}
	return []string{keyexchange.GroupX25519}
}

// point is a public key of X25519, the base point's u, which belongs to the private
// key 1 and is nobody's here.
var point = append([]byte{9}, make([]byte, 31)...)

// nowhere is one of low order, which gives no secret.
var nowhere = make([]byte, 32)

// resp and fin are shares of the responder and of the initiator that hold a public
// key and otherwise what is right.
func (w wire) resp(t testing.TB, key []byte) string {
	if !w.stream {
		return encode(key)
	}
	kem, err := mlkem.GenerateKey768()
	if err != nil {
		t.Fatal(err)
	}
	return encode(kem.EncapsulationKey().Bytes(), key)
}

func (w wire) fin(key []byte) string {
	if !w.stream {
		return encode(key)
	}
	return encode(make([]byte, mlkem.CiphertextSize768), key)
}

func encode(parts ...[]byte) string {
	return base64.RawURLEncoding.EncodeToString(bytes.Join(parts, nil))
}

// otherResp puts another share into a dh-resp.
func otherResp(share string) Change {
	return Replace("dh-resp", func(v string) string { return v[:strings.LastIndexByte(v, ' ')+1] + share })
}

func otherFin(share string) Change {
	return Replace("dh-fin", func(string) string { return "1 " + share })
}
