package attest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

var errNoSignature = errors.New("not one binary OpenPGP signature")

// readSignature reads exactly one packet, a signature of type 0x00, in definite
// length. Everything else is refused before the library sees it: packets of
// other kinds hold data that is compressed or without an end.
func readSignature(b []byte) (*packet.Signature, error) {
	if len(b) < 2 {
		return nil, errNoSignature
	}
	const newFormat, oldFormat, tag = 0xC0, 0x80, 2
	switch {
	case b[0] == newFormat|tag && (b[1] < 224 || b[1] == 255): // no partial length
	case b[0]&^0x03 == oldFormat|tag<<2 && b[0]&0x03 != 3: // no indeterminate length
	default:
		return nil, errNoSignature
	}
	in := bytes.NewReader(b)
	p, err := packet.Read(in)
	if err != nil {
		return nil, err
	}
	sig, ok := p.(*packet.Signature)
	if !ok || in.Len() != 0 || sig.SigType != packet.SigTypeBinary {
		return nil, errNoSignature
	}
	return sig, nil
}

func unsupported(err error) bool {
	var u pgperrors.UnsupportedError
	return errors.As(err, &u)
}

// notCounting says why a signature counts for nothing whoever has made it.
func notCounting(sig *packet.Signature, now time.Time) string {
	if !strongHash(sig.Hash) {
		return "the signature is made with the weak digest " + sig.Hash.String()
	}
	for _, n := range sig.Notations {
		if n.IsCritical {
			return "the signature has a condition that is not known here"
		}
	}
	if l := sig.SigLifetimeSecs; l != nil && *l != 0 && now.After(sig.CreationTime.Add(time.Duration(*l)*time.Second)) {
		return "the signature is expired"
	}
	return ""
}

var errNoKeys = errors.New("there are none in it")

// readKeys reads exported keys, armored or not. In armor there may be several
// blocks one after the other, as cat leaves them.
func readKeys(b []byte) (openpgp.EntityList, error) {
	if !bytes.Contains(b, []byte("-----BEGIN PGP")) {
		list, err := openpgp.ReadKeyRing(bytes.NewReader(b))
		if err == nil && len(list) == 0 {
			err = errNoKeys
		}
		return list, err
	}
	var all openpgp.EntityList
	in := bufio.NewReader(bytes.NewReader(b))
	for {
		block, err := armor.Decode(in)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if block.Type != openpgp.PublicKeyType && block.Type != openpgp.PrivateKeyType {
			return nil, fmt.Errorf("holds a block %q, not keys", block.Type)
		}
		list, err := openpgp.ReadKeyRing(block.Body)
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
		if _, err := io.Copy(io.Discard, block.Body); err != nil {
			return nil, err
		}
	}
	if len(all) == 0 {
		return nil, errNoKeys
	}
	return all, nil
}

func hasSecret(e *openpgp.Entity) bool {
	if e.PrivateKey != nil {
		return true
	}
	for i := range e.Subkeys {
		if e.Subkeys[i].PrivateKey != nil {
			return true
		}
	}
	return false
}
