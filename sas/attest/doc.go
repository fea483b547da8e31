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
// [Ed25519], [KeyFile] and [GnuPGSigner] sign ([Signer]); [CheckAll] checks what a
// message brought. A check has one of three outcomes ([State]): the signature is
// right, it is wrong, or it could not be checked. What a right one is worth is not
// decided here but by package trust: whether the key belongs to the identity, and
// the identity is the peer that the call names. Of an OpenPGP key the keyring
// knows the former, and [Result] says it: [Keys] are files whose being there is
// trust, [GnuPG] is the live keyring of GnuPG with its owner's trust settings. Of
// an ed25519 key, pins and confirmations know it; [IdentityKeys] are the own ones
// and their hand-over to new ones.
//
// Revoked, expired and weak keys, and signatures with weak digests, are not
// checked: a signature by them counts as if it were not there.
//
// Values come from strangers. None costs more than a few public key operations,
// starts a program, or is kept.
package attest
