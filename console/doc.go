// Package console is what people and programs see of a running sipward: an
// HTTP interface that reads, and changes something at a few paths, and the client
// that the command line uses.
//
//	GET /api/calls        the live calls, a JSON array of b2bua.View, oldest first
//	GET /api/calls/{id}   one of them; 404 when there is none
//	GET /api/events       what happens to calls, as server-sent events
//	GET /api/status       how the sipward is: version, listeners, phones, trunks, calls by protection,
//	                      and who is blocked: source, user, why, how often, until when
//	POST /api/unblock     {"source":"192.0.2.9","user":"alice"} lets them try again at once; "all" stands
//	                      for every source, no user for every user; answers {"freed":1}
//	POST /api/calls/{id}/sas  what a person says of the string: {"equal":true}, {"equal":false}, or
//	                      {"code":"123456"}, which the other person has read out; the second wrong code is
//	                      a mismatch; answers {"trust":"verified","says":"..."}
//	GET /api/trust        what is remembered of peers, one JSON object that import takes
//	POST /api/trust/VERB  confirm, forget: {"identity":"sip:bob@b.example","key":"..."}, the key as far as it
//	                      leaves no doubt; block, unblock: an identity, or {"key_type":"ed25519","key":"..."};
//	                      import: what GET /api/trust gave
//	GET /healthz          {"status":"ok"} while the server answers; needs no token
//	GET /metrics          figures for Prometheus
//
// Every refusal is a JSON object with one member, "error", a sentence.
//
// # Events
//
// The stream follows the HTML standard's server-sent events, in UTF-8, each
// event with the lines id, event and data; data is one line of JSON. The first
// event is always the state of things, so that a reader who reconnects has
// missed nothing; Last-Event-ID is therefore not looked at, and ids count the
// events of one stream from 1.
//
//	snapshot      {"type":"snapshot","time":…,"calls":[View…]}
//	call-started  {"type":"call-started","time":…,"call":View}
//	call-changed  the same shape
//	call-ended    the same shape
//	closed        {"error":"why the server ends the stream"}
//
// The subscription begins before the snapshot is taken: an event whose effect
// the snapshot already shows may follow it, an event that it does not show
// always does. A comment line every 15 seconds shows that the stream is alive.
// A reader who does not keep up is cut off, and there are at most 64 readers.
//
// # Who may ask
//
// The interface shows who calls whom, so it is closed to everyone but programs
// of this machine unless there is a token. A listener that other machines can
// reach needs one, and where there is one every request but /healthz carries
// it (Authorization: Bearer, RFC 6750 section 2.1). The browser of a person on
// this machine is also a program of this machine and runs the code of
// strangers: requests whose Host is not a name of this server (DNS rebinding)
// or that a page of another origin makes are refused, and a POST is
// application/json, which such a page cannot send unasked.
//
// The server speaks HTTP without TLS. Beyond loopback, the token and who calls
// whom cross the wire in the clear unless a reverse proxy or a tunnel
// protects them; name that proxy's host in Options.Hosts.
package console
