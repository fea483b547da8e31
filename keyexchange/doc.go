// Package keyexchange agrees SRTP keys and a short authentication string
// between two SIP user agents, without any I/O and without a clock: messages
// and time are handed in, attribute values and keys come out.
//
// # The exchange
//
// It is the native exchange, version 1, of docs/protocol.md; the section
// numbers in this package's comments are that document's. Three attributes
// travel in the three messages that set up a call (protocol §2):
//
//	INVITE        a=dh-init:1 <group>=<commit>[,...] <suite>[,...]
//	2xx           a=dh-resp:1 <group> <suite> <share>
//	ACK           a=dh-fin:1 <share>
//
// The initiator sent the INVITE. It names groups and suites and, for each
// group, the hash of a Diffie-Hellman public key that it does not show yet.
// The responder chooses one group and one suite and shows its own share; only
// then does the initiator open its commitment. Whoever wants to stand between
// the two has to choose his shares before he knows theirs, and so has one
// guess at the short authentication string. Beside dh-resp and dh-fin up to
// four a=dh-sig attributes may stand; this package does not check signatures
// but binds every one of them into the keys (protocol §3, T3).
//
// # Using it
//
// Initiator: [NewInitiator], send [Exchange.Init]; [Read] the 2xx and give it
// to [Exchange.TakeResp]; sign [Exchange.T2] if there is a key to sign with
// and tell [Exchange.SetSignatures]; send the dh-fin, then [Exchange.Started].
//
// Responder: [Read] the INVITE and give it to [NewResponder]; sign
// [Exchange.T1] and tell [Exchange.SetSignatures]; send the dh-resp; [Read]
// the ACK and give it to [Exchange.TakeFin], then [Exchange.Started].
//
// From then on [Exchange.Keys] gives the SRTP keys of every m= line and
// [Exchange.SAS] the four octets that package sas renders. An exchange is not
// yet worth showing before it is confirmed, which [Exchange.Confirmed] and
// [Exchange.Tick] keep track of.
//
// # Errors
//
// An error that points to an attack is a [*Failure]; the call must not fall
// back to clear speech after it. [ErrNoCommon] and [ErrAbsent], which wraps
// it, say that the peer does not speak this protocol or nothing of it in
// common: policy decides. Any other error is a mistake of the caller.
//
// An [Exchange] is not safe for concurrent use; the goroutine that owns the
// call owns its exchanges.
package keyexchange
