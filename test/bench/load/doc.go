// Package load makes calls' media for a relay, and judges what comes out of it.
//
// A call is two streams of 50 packets a second, each of 172 octets, as of
// G.711: plain ones to the relay's plain port, which come back protected, and
// protected ones to its secure port, which come back plain. A run has three
// parts, so that the measured one does nothing but send and receive:
//
//	script    every packet is built, and encrypted, before
//	pump      packets leave on time, what arrives is kept with the kernel's time stamp
//	judge     every packet that arrived is decrypted and compared, after
//
// A packet's payload says which packet it is, so a relay may change SSRC,
// sequence number and timestamp. SRTP is done by pion/srtp, not by sipward's
// own transforms: these are among what is judged.
//
// The pump needs Linux (sendmmsg, recvmmsg, SO_TIMESTAMPNS).
package load
