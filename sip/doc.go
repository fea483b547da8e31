// Package sip holds what a SIP user agent needs of RFC 3261: messages,
// transports, transactions and dialogs.
//
// # How a message travels
//
// A [Listener] reads datagrams (or frames a TCP stream), the parser makes a
// [Message] of each, and the [Stack] looks at its Call-ID. If a [Dialog] owns
// that Call-ID the message is posted to the dialog's [Queue]; otherwise a
// request goes to the [Handler], still on the reader, and a response is
// dropped. One reader and one queue after it keep the order of arrival: an ACK
// that came before a re-INVITE is handled before it.
//
// Transactions belong to a dialog and run on its queue alone, so they need no
// locks. They are our own and not a library's, because the usual ones hand
// messages over to a goroutine each: a BYE that was read after the 200 could
// then overtake it.
//
// # Who owns what
//
// The queue of a call serves both of its dialogs. Methods of [Dialog] and
// [ServerTx] must be called on that queue, where the [User]'s methods are
// called as well.
package sip
