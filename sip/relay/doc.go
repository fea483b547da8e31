// Package relay carries requests that begin no call from one side to the other
// and their answers back: MESSAGE (RFC 3428), PUBLISH (RFC 3903), INFO outside
// calls, NOTIFY without a subscription, and SUBSCRIBE with the NOTIFYs that
// follow (RFC 6665).
//
// It is a back-to-back user agent as the rest is: what goes on has a Call-ID,
// tags, CSeq, Via and Contact of its own, and of the header fields those that
// the table of fields.go names. Bodies go on as they are, but for addresses of
// the inside that a [Veil] takes out of what leaves.
//
//	request.go       a request and its answer; to one destination or to several
//	subscription.go  the two dialogs of a subscription, joined
//	end.go           this side of one dialog
//	fields.go        which header fields go on
//	veil.go          addresses that do not leave
//
// Who may send what where is the caller's to decide, before [Request.Send].
package relay
