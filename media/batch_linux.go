package media

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// message is struct mmsghdr of recvmmsg(2) and sendmmsg(2).
type message struct {
	header unix.Msghdr
	octets uint32
}

// inbox is where one recvmmsg puts datagrams and their senders.
type inbox struct {
	messages [readBatch]message
	names    [readBatch]unix.RawSockaddrInet6 // holds an IPv4 address too
	vectors  [readBatch]unix.Iovec
	data     [readBatch][readLen]byte
}

func (b *inbox) init() {
	for i := range b.messages {
		b.vectors[i].Base = &b.data[i][0]
		b.vectors[i].SetLen(readLen)
		b.messages[i].header.Name = (*byte)(unsafe.Pointer(&b.names[i]))
		b.messages[i].header.Iov = &b.vectors[i]
		b.messages[i].header.SetIovlen(1)
	}
}

// read takes up to readBatch datagrams, none where the socket is empty or
// reports a fault of an earlier packet.
func (b *inbox) read(fd int) int {
	for i := range b.messages {
		b.messages[i].header.Namelen = unix.SizeofSockaddrInet6
	}
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd),
			uintptr(unsafe.Pointer(&b.messages[0])), readBatch, unix.MSG_DONTWAIT, 0, 0)
		if errno == 0 {
			return int(n)
		}
		if errno != unix.EINTR {
			return 0
		}
	}
}

// packet gives the i-th datagram of the last read.
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
	count    int
	sockets  [readBatch]int // descriptors
	messages [readBatch]message
	names    [readBatch]unix.RawSockaddrInet6
	vectors  [readBatch]unix.Iovec
	data     [readBatch][bufferLen]byte
}

func (b *outbox) init() {
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

// add queues the buffer lent last.
func (b *outbox) add(s *epollSocket, pkt []byte, to netip.AddrPort) {
	i := b.count
	b.sockets[i] = s.fd
	b.vectors[i].Base = unsafe.SliceData(pkt)
	b.vectors[i].SetLen(len(pkt))
	header := &b.messages[i].header
	if s.ipv6 {
		b.names[i] = unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: to.Addr().As16()}
		if to.Addr().IsLinkLocalUnicast() {
			b.names[i].Scope_id = s.scope
		}
		setPort(&b.names[i].Port, to.Port())
		header.Namelen = unix.SizeofSockaddrInet6
	} else {
		name := (*unix.RawSockaddrInet4)(unsafe.Pointer(&b.names[i]))
		*name = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: to.Addr().As4()}
		setPort(&name.Port, to.Port())
		header.Namelen = unix.SizeofSockaddrInet4
	}
	b.count++
}

// flush sends what was queued, one system call for each run of packets of one
// socket. What the system refuses is lost, as on any wire.
func (b *outbox) flush() {
	for i := 0; i < b.count; {
		run := i + 1
		for run < b.count && b.sockets[run] == b.sockets[i] {
			run++
		}
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(b.sockets[i]),
			uintptr(unsafe.Pointer(&b.messages[i])), uintptr(run-i), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			i += max(int(n), 1)
		case unix.EINTR:
		default:
			i++
		}
	}
	b.count = 0
}

// Ports stand in network byte order in a raw socket address.
func setPort(field *uint16, port uint16) {
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(field))[:], port)
}

func hostPort(field *uint16) uint16 {
	return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(field))[:])
}
