// Package attest signs and checks the transcript of a key exchange (protocol
// section 5), so that people who have exchanged keys once need not read strings
// to each other.
//
// A signature stands in an attribute beside the share that it speaks for:
//
//	a=dh-sig:<type> <key> <identity> <signature>
//
// It is made over a text that names the role of who signs, the transcript, and
// the first three fields as they stand in the attribute ([Text]). There are two
// types:
//
//	ed25519   the proxy's or a user's own key; the key itself is in the attribute
//	openpgp   a detached OpenPGP signature; the attribute holds the fingerprint
//
// A check has one of three outcomes ([State]): the signature is right, it is
// wrong, or it could not be checked. What a right one is worth is not decided
// here but by package trust: whether the key belongs to the identity. Of an
// OpenPGP key the keyring knows that, and [Result] says it.
package attest
