package load

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	batch      = 64
	slotLen    = 224 // a packet, whatever suite, with room to see that it is too long
	controlLen = 64
	// socketMemory is what the kernel may keep for the generator while it does
	// something else; without privilege it gives less.
	socketMemory = 64 << 20
)

type mmsghdr struct {
	hdr    unix.Msghdr
	octets uint32
}

// socket is one of the generator's two, with what its batches need.
type socket struct {
	fd      int
	headers [batch]mmsghdr
	vectors [batch]unix.Iovec
	names   [batch]unix.RawSockaddrInet4
	control [batch][controlLen]byte
}

func newSocket(local netip.AddrPort) (*socket, error) {
	if !local.Addr().Is4() {
		return nil, fmt.Errorf("load: %v: the generator speaks IPv4 only", local)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	s := &socket{fd: fd}
	for _, option := range [][2]int{{unix.SO_RCVBUFFORCE, unix.SO_RCVBUF}, {unix.SO_SNDBUFFORCE, unix.SO_SNDBUF}} {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, option[0], socketMemory) != nil {
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, option[1], socketMemory) // as much as the system allows
		}
	}
	if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: local.Addr().As4(), Port: int(local.Port())})
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("load: %v: %w", local, err)
	}
	for i := range s.headers {
		h := &s.headers[i].hdr
		h.Name = (*byte)(unsafe.Pointer(&s.names[i]))
		h.Namelen = unix.SizeofSockaddrInet4
		h.Iov = &s.vectors[i]
		h.SetIovlen(1)
	}
	return s, nil
}

func (s *socket) close() { unix.Close(s.fd) }

// address is a in the kernel's form.
func address(a netip.AddrPort) unix.RawSockaddrInet4 {
	raw := unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: a.Addr().As4()}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&raw.Port))[:], a.Port())
	return raw
}

// set makes the i-th message of a batch.
func (s *socket) set(i int, pkt []byte, to *unix.RawSockaddrInet4) {
	s.vectors[i].Base = unsafe.SliceData(pkt)
	s.vectors[i].SetLen(len(pkt))
	s.names[i] = *to
}

// send sends the first n messages; how many the kernel took.
func (s *socket) send(n int) int {
	for i := range n {
		s.headers[i].hdr.Control = nil
		s.headers[i].hdr.SetControllen(0)
	}
	sent := 0
	for sent < n {
		done, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&s.headers[sent])), uintptr(n-sent), unix.MSG_DONTWAIT, 0, 0)
		if errno == unix.EINTR || errno == unix.ECONNREFUSED { // of an earlier packet
			continue
		}
		if errno != 0 {
			break
		}
		sent += int(done)
	}
	return sent
}

// receive reads up to batch packets into slots of slotLen; how many came.
func (s *socket) receive(slots []byte) int {
	n := min(batch, len(slots)/slotLen)
	if n == 0 {
		return 0
	}
	for i := range n {
		s.vectors[i].Base = &slots[i*slotLen]
		s.vectors[i].SetLen(slotLen)
		h := &s.headers[i].hdr
		h.Namelen = unix.SizeofSockaddrInet4
		h.Control = &s.control[i][0]
		h.SetControllen(controlLen)
	}
	got, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&s.headers[0])), uintptr(n), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(got)
}

// received describes the i-th packet of the last receive: its length, who sent
// it, and when the kernel had it, in ns of the wall clock.
func (s *socket) received(i int) (octets int, from unix.RawSockaddrInet4, at int64) {
	h := &s.headers[i]
	control := s.control[i][:h.hdr.Controllen]
	for len(control) >= unix.SizeofCmsghdr {
		c := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
		if c.Level == unix.SOL_SOCKET && c.Type == unix.SCM_TIMESTAMPNS {
			t := (*unix.Timespec)(unsafe.Pointer(&control[unix.CmsgLen(0)]))
			at = t.Nano()
			break
		}
		next := unix.CmsgSpace(int(c.Len) - unix.CmsgLen(0))
		if next <= 0 || next > len(control) {
			break
		}
		control = control[next:]
	}
	return int(h.octets), s.names[i], at
}

// drops is how many packets the kernel dropped for want of room (SO_MEMINFO,
// SK_MEMINFO_DROPS).
func (s *socket) drops() int {
	var info [9]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(s.fd), unix.SOL_SOCKET, unix.SO_MEMINFO, uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0
	}
	return int(info[8])
}
