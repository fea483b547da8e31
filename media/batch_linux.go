package media

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system calls below never block, so they are made without telling the
// scheduler, which would cost as much as some of them.

const (
	// batch is how many datagrams are worked on together: about those of a round
	// of a thousand calls.
	batch = 128
	// ringFrom is how many are worth a ring.
	ringFrom = 3
)

// message is struct mmsghdr of recvmmsg(2) and sendmmsg(2).
type message struct {
	header unix.Msghdr
	octets uint32
}

// inbox is where datagrams and their senders are put.
type inbox struct {
	ring     *ring // nil: there is none
	count    int
	sockets  [batch]int // descriptors
	got      [batch]bool
	messages [batch]message
	names    [batch]unix.RawSockaddrInet6 // holds an IPv4 address too
	vectors  [batch]unix.Iovec
	data     [batch][readLen]byte
}

func (b *inbox) init(r *ring) {
	b.ring = r
	for i := range b.messages {
		b.vectors[i].Base = &b.data[i][0]
		b.vectors[i].SetLen(readLen)
		b.messages[i].header.Name = (*byte)(unsafe.Pointer(&b.names[i]))
		b.messages[i].header.Iov = &b.vectors[i]
		b.messages[i].header.SetIovlen(1)
	}
}

// want puts a socket into the next place, to be read by take.
func (b *inbox) want(fd int) {
	b.sockets[b.count] = fd
	b.count++
}

// take reads one datagram of each socket that is wanted. Where got is false
// the socket was empty or reported a fault of an earlier packet.
func (b *inbox) take() {
	n := b.count
	b.count = 0
	if !b.ring.carries(n) {
		for i := range n {
			b.got[i] = b.readOne(i)
		}
		return
	}
	for i := range n {
		b.messages[i].header.Namelen = unix.SizeofSockaddrInet6
		b.ring.add(ringRecvmsg, b.sockets[i], &b.messages[i].header, i)
	}
	b.ring.do()
	for i, octets := range b.ring.results[:n] {
		b.messages[i].octets = uint32(octets)
		b.got[i] = octets >= 0
	}
}

func (b *inbox) readOne(i int) bool {
	size := uint32(unix.SizeofSockaddrInet6)
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(b.sockets[i]),
		uintptr(unsafe.Pointer(&b.data[i])), readLen, unix.MSG_DONTWAIT,
		uintptr(unsafe.Pointer(&b.names[i])), uintptr(unsafe.Pointer(&size)))
	b.messages[i].octets = uint32(n)
	return errno == 0
}

// read takes up to a batch of datagrams.
func (b *inbox) read(fd int) int {
	for i := range b.messages {
		b.messages[i].header.Namelen = unix.SizeofSockaddrInet6
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd),
		uintptr(unsafe.Pointer(&b.messages[0])), batch, unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}

// packet gives the datagram in a place.
func (b *inbox) packet(i int) (src netip.AddrPort, pkt []byte) {
	name := &b.names[i]
	switch name.Family {
	case unix.AF_INET:
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		src = netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), hostPort(&v4.Port))
	case unix.AF_INET6:
		src = netip.AddrPortFrom(netip.AddrFrom16(name.Addr).Unmap(), hostPort(&name.Port))
	}
	return src, b.data[i][:b.messages[i].octets]
}

// outbox collects datagrams so that those of one socket leave together.
type outbox struct {
	ring     *ring // nil: there is none
	count    int
	sockets  [batch]int // descriptors
	messages [batch]message
	names    [batch]unix.RawSockaddrInet6
	vectors  [batch]unix.Iovec
	data     [batch][bufferLen]byte
}

func (b *outbox) init(r *ring) {
	b.ring = r
	for i := range b.messages {
		b.messages[i].header.Name = (*byte)(unsafe.Pointer(&b.names[i]))
		b.messages[i].header.Iov = &b.vectors[i]
		b.messages[i].header.SetIovlen(1)
	}
}

// buffer lends the next free one.
func (b *outbox) buffer() []byte {
	if b.count == len(b.messages) {
		b.flush()
	}
	return b.data[b.count][:0]
}

// add queues the buffer lent last, to an address of the socket's family.
func (b *outbox) add(s *epollSocket, pkt []byte, to netip.AddrPort) {
	i := b.count
	b.sockets[i] = s.fd
	b.vectors[i].Base = unsafe.SliceData(pkt)
	b.vectors[i].SetLen(len(pkt))
	b.messages[i].header.Namelen = s.address(&b.names[i], to)
	b.count++
}

// flush sends what was queued. What the system refuses is lost, as on any wire.
func (b *outbox) flush() {
	if !b.ring.carries(b.count) {
		b.sendRuns()
	} else {
		for i := range b.count {
			b.ring.add(ringSendmsg, b.sockets[i], &b.messages[i].header, i)
		}
		b.ring.do()
	}
	b.count = 0
}

// sendRuns makes one system call for each run of packets of one socket.
func (b *outbox) sendRuns() {
	for i := 0; i < b.count; {
		run := i + 1
		for run < b.count && b.sockets[run] == b.sockets[i] {
			run++
		}
		if run == i+1 {
			b.sendOne(i)
			i++
			continue
		}
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(b.sockets[i]),
			uintptr(unsafe.Pointer(&b.messages[i])), uintptr(run-i), unix.MSG_DONTWAIT, 0, 0)
		if errno != 0 {
			n = 1 // the first one is what the system refuses
		}
		i += max(int(n), 1)
	}
}

func (b *outbox) sendOne(i int) {
	header := &b.messages[i].header
	unix.RawSyscall6(unix.SYS_SENDTO, uintptr(b.sockets[i]),
		uintptr(unsafe.Pointer(b.vectors[i].Base)), uintptr(b.vectors[i].Len), unix.MSG_DONTWAIT,
		uintptr(unsafe.Pointer(header.Name)), uintptr(header.Namelen))
}

// Ports stand in network byte order in a raw socket address.
func setPort(field *uint16, port uint16) {
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(field))[:], port)
}

func hostPort(field *uint16) uint16 {
	return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(field))[:])
}
