// Package memnet is a network of UDP sockets that lives in memory, for demos
// and for tests that want loss, delay and reordering to order. [Streams] are
// connections of TCP beside it.
//
// A socket is an ordinary [net.PacketConn], so whatever serves a UDP socket
// serves one of these. Nothing leaves the process and no port of the machine
// is taken.
//
//	network := memnet.New(memnet.Options{Seed: 1, Loss: 0.05, Delay: 20 * time.Millisecond})
//	defer network.Close()
//	alice, err := network.ListenPacket(netip.MustParseAddrPort("192.0.2.1:5060"))
//
// # Time
//
// Delays run on package time and readers wait on channels, so that a network
// made inside a testing/synctest bubble belongs to it: the bubble's clock moves
// on as soon as everybody waits, and a day of delay costs nothing. Make the
// network inside the bubble that uses it.
//
// # What may happen to a datagram
//
// Each link, that is each pair of source and destination, draws from its own
// random numbers, which depend on [Options.Seed], the two addresses and nothing
// else. The n-th datagram of a link therefore meets the same fate in every run,
// however goroutines of other links are scheduled.
//
// A [Rule] decides about single datagrams before chance does: "drop the first
// ACK" or "change this octet". A tap sees every datagram as its sender wrote it.
package memnet
