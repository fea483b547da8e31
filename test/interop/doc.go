// Package interop holds the tests in which real phones call each other through
// two real sipward processes, while a capture runs on the wire between them:
//
//	baresip ── sipward ══ the wire ══ sipward ── baresip
//	SIPp    ── sipward ══ the wire ══ sipward ── baresip
//	SIPp, baresip ── sipward ══ the wire ══ sipward ── SIPp, which speaks before it answers
//	baresip ── sipward ══ Kamailio, rtpengine ══ sipward ── baresip
//	baresip ── sipward ── baresip
//	baresip ── sipward ══ its own far end, the test addresses
//	baresip, linphone ── an office's sipward ══ another's ── baresip, linphone
//	baresip, linphone, who transfer, hold and change calls ── sipward ══ another ── baresip, linphone
//	baresip ── sipward ── a router with NAT ══ Kamailio ══ sipward ── baresip
//
// In some of them the phones register: with their sipward, or through it at
// Kamailio, which knows nothing of sipward and asks for passwords of its own; or
// their sipward has an account at Kamailio for all of them.
//
// Both phones speak, with different voices, and what each of them heard is
// compared with what the other one played. tshark reads the capture, as somebody
// on the wire would, and must find no speech in it.
//
// They need Linux, the rights to capture on the loopback interface and to make
// network namespaces (root has them), and the Debian packages baresip-core,
// linphone-cli, sip-tester, tshark, kamailio, rtpengine-daemon (without its kernel
// module), iproute2 and iptables. What is missing fails the run, and the message
// names it.
//
// What a test shows with which program it declares; together they are the table of
// docs/interop.md. make interop writes it, a run without -write fails where it says
// something else, and a run of single tests leaves it alone.
//
//	make interop
//	go test -tags interop -count=1 ./test/interop
//	SIPWARD_BIN=/usr/local/bin/sipward go test -tags interop -count=1 ./test/interop
//
// Everything stays on 127.0.0.0/8 or in namespaces that end with the run. Each run
// takes a network of its own in there and ports that are free, so that several runs
// on one machine do not meet.
package interop
