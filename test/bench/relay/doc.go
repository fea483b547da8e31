// Package relay starts the relays that are compared, each as a process of its
// own on a CPU of its own, and sets up their calls: sipward's media engine from
// a list of sessions, rtpengine through its control protocol.
//
// It needs Linux.
package relay
