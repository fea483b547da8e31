// Package sip holds what a SIP user agent needs of RFC 3261: messages,
// transports, transactions and dialogs.
//
// # How a message travels
//
// A [Listener] reads datagrams (or frames a stream, of TCP or TLS), the parser
// makes a [Message] of each, and the [Stack] looks whether it continues a
// transaction outside dialogs, and then at its Call-ID. If a [Dialog] owns
// that Call-ID the message is posted to the dialog's [Queue]; otherwise a
// request goes to the [Handler], still on the reader, and a response is
// dropped. One reader and one queue after it keep the order of arrival: an ACK
// that came before a re-INVITE is handled before it.
//
// Transactions belong to a dialog, or to who asked for them by [Stack.Request]
// and [Incoming.Serve], and run on its queue alone, so they need no locks. They
// are our own and not a library's, because the usual ones hand messages over to
// a goroutine each: a BYE that was read after the 200 could then overtake it.
//
// # Who owns what
//
// The queue of a call serves both of its dialogs. Methods of [Dialog] and
// [ServerTx] must be called on that queue, where the [User]'s methods are
// called as well.
//
// # Before the answer
//
// Provisional responses may be reliable (RFC 3262). The callee's side sends them
// by [Dialog.ProvisionReliably], which repeats each until its PRACK; the caller's
// side asks [Dialog.Reliable] and follows with [Dialog.Prack]. Each fork of an
// INVITE that has sent one is an early dialog.
//
// # Connections
//
// A dialog keeps the connection that it began on. One that is dialled over TLS
// proves the name under which its peer was called, see [Listener.FlowTo], or for
// which that has shown a certificate as it called: no option turns that off. Where
// one ends, what waited on it is not left to its timers: a request is sent anew over
// another connection, as it would be over UDP, or its user is told at once; so is a
// response or an ACK that was not written, where Via or Contact says that its peer
// listens. A request that outgrows a datagram leaves over TCP, see
// [Listener.SetLargeVia]. Everything that a stranger may begin is bounded in
// number and in time: connections, handshakes, messages, transactions.
package sip
