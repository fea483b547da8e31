// Package trust remembers the peers of calls and says in one word what a call is
// worth (protocol section 6):
//
//	none       not encrypted
//	encrypted  keys were agreed, and nobody has checked with whom
//	pinned     the other end signed with the key of an earlier call
//	verified   both people read the same string, now or earlier with this key;
//	           or a key of the keyring signed
//	mismatch   something is wrong: a bad signature, another key than before, a
//	           broken commitment, or the people read different strings
//
// [Memory.Judge] turns the facts of a call into a [Verdict] and the changes that
// it makes to the memory; it changes nothing itself, so that what is remembered
// is remembered once, when the exchange is confirmed.
//
// # What is remembered
//
// A pin is a pair of an identity and an ed25519 key. Trust belongs to the pair:
// a proxy's key speaks for many users, and having heard one of them says nothing
// about another. A pin that an incoming call made is weak, since anybody can
// call under any name: it shows as encrypted, and another key takes its place
// with a notice. It becomes strong when this end dials the identity and the same
// key answers, or when a person confirms it.
//
// Another key where a strong pin is, is a mismatch, unless the old key has
// signed the same call beside the new one: that is how a key is handed over.
//
// Of a peer without a key it is remembered that it was heard encrypted, where
// this end had dialled it; of incoming calls only where a pinned or trusted key
// signed, or else anybody could make somebody's plain calls look like an attack.
package trust
