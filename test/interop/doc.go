// Package interop holds the tests in which real phones call each other through
// two real sipward processes, while a capture runs on the wire between them:
//
//	baresip ── sipward ══ the wire ══ sipward ── baresip
//	SIPp    ── sipward ══ the wire ══ sipward ── baresip
//	baresip ── sipward ══ Kamailio, rtpengine ══ sipward ── baresip
//	baresip ── sipward ── baresip
//	baresip ── sipward ══ its own far end, the test addresses
//
// In some of them the phones register: with their sipward, or through it at
// Kamailio, which knows nothing of sipward and asks for passwords of its own; or
// their sipward has an account at Kamailio for all of them.
//
// Both phones speak, with different voices, and what each of them heard is
// compared with what the other one played. tshark reads the capture, as somebody
// on the wire would, and must find no speech in it.
//
// They need Linux, the right to capture on the loopback interface (root has it),
// and the Debian packages baresip-core, sip-tester, tshark, kamailio and
// rtpengine-daemon (without its kernel module). A missing one fails the run, and the
// message names it.
//
//	make interop
//	go test -tags interop -count=1 ./test/interop
//	SIPWARD_BIN=/usr/local/bin/sipward go test -tags interop -count=1 ./test/interop
//
// Everything stays on 127.0.0.0/8. Each run takes a network of its own in there
// and ports that are free, so that several runs on one machine do not meet.
package interop
