package media

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ring hands many datagrams to the system in one call (io_uring(7)). Entering
// the kernel costs more than what it does there for a datagram where a
// hypervisor or a processor's faults make it dear; the loop stays the one that
// reads and sends packet by packet where there is no ring: the system is old,
// or does not allow it, as containers often do not.
//
// Nothing waits in the ring. Sockets do not block, so whatever is asked of it
// is done when the call returns, and the buffers are the caller's again.
type ring struct {
	fd       int
	shared   []byte // the two queues' heads and tails, and what was completed
	requests []byte // what is asked

	askHead, askTail, askMask    *uint32
	doneHead, doneTail, doneMask *uint32
	asks                         []ask
	dones                        []done

	queued  uint32
	results []int32    // of the asks, by place
	broken  unix.Errno // why the system takes no more: it is not to be used again
}

// ask is struct io_uring_sqe of a call with a struct msghdr.
type ask struct {
	code    uint8
	_       uint8
	_       uint16
	fd      int32
	_       uint64
	header  uint64
	vectors uint32 // 1: there is one header
	flags   uint32
	place   uint64 // comes back in done
	_       [3]uint64
}

// done is struct io_uring_cqe.
type done struct {
	place  uint64
	result int32 // octets, or an error number below zero
	_      uint32
}

// What of linux/io_uring.h is used.
const (
	ringSendmsg = 9
	ringRecvmsg = 10

	ringSubmitAll  = 1 << 7 // go on behind an ask that fails
	ringGetevents  = 1 << 0
	ringSingleMmap = 1 << 0

	ringRequestsAt = 0x10000000
)

// ringParams is struct io_uring_params.
type ringParams struct {
	asks, dones uint32
	flags       uint32
	_           [2]uint32
	features    uint32
	_           [4]uint32
	ask         struct {
		head, tail, mask, entries, flags, dropped, array, _ uint32
		_                                                   uint64
	}
	done struct {
		head, tail, mask, entries, overflow, entry, flags, _ uint32
		_                                                    uint64
	}
}

// newRing makes a ring for so many datagrams at a time, and does not give one
// that would not carry them.
func newRing(entries uint32) (*ring, error) {
	params := ringParams{flags: ringSubmitAll}
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, uintptr(entries), uintptr(unsafe.Pointer(&params)), 0)
	if errno != 0 {
		return nil, os.NewSyscallError("io_uring_setup", errno)
	}
	r := &ring{fd: int(fd)}
	err := r.share(&params)
	if err == nil {
		err = r.try()
	}
	if err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

// share maps the queues.
func (r *ring) share(p *ringParams) (err error) {
	if p.features&ringSingleMmap == 0 {
		return errors.New("media: io_uring of an old system")
	}
	const readWrite = unix.PROT_READ | unix.PROT_WRITE
	const populated = unix.MAP_SHARED | unix.MAP_POPULATE
	size := max(p.ask.array+p.asks*4, p.done.entry+p.dones*uint32(unsafe.Sizeof(done{})))
	if r.shared, err = unix.Mmap(r.fd, 0, int(size), readWrite, populated); err != nil {
		return os.NewSyscallError("mmap", err)
	}
	size = p.asks * uint32(unsafe.Sizeof(ask{}))
	if r.requests, err = unix.Mmap(r.fd, ringRequestsAt, int(size), readWrite, populated); err != nil {
		return os.NewSyscallError("mmap", err)
	}
	at := func(offset uint32) *uint32 { return (*uint32)(unsafe.Pointer(&r.shared[offset])) }
	r.askHead, r.askTail, r.askMask = at(p.ask.head), at(p.ask.tail), at(p.ask.mask)
	r.doneHead, r.doneTail, r.doneMask = at(p.done.head), at(p.done.tail), at(p.done.mask)
	r.asks = unsafe.Slice((*ask)(unsafe.Pointer(&r.requests[0])), p.asks)
	r.dones = unsafe.Slice((*done)(unsafe.Pointer(&r.shared[p.done.entry])), p.dones)
	r.results = make([]int32, p.asks)
	// Which place of the array names which ask never changes.
	for i := range unsafe.Slice(at(p.ask.array), p.asks) {
		unsafe.Slice(at(p.ask.array), p.asks)[i] = uint32(i)
	}
	return nil
}

// try carries a datagram.
func (r *ring) try() error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socketpair", err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	var out, in, none message
	sent, got := [4]byte{1, 2, 3, 4}, [4]byte{}
	vectors := [2]unix.Iovec{{Base: &sent[0]}, {Base: &got[0]}}
	for i, m := range []*message{&out, &in} {
		vectors[i].SetLen(len(sent))
		m.header.Iov = &vectors[i]
		m.header.SetIovlen(1)
	}
	none.header = in.header
	r.add(ringSendmsg, pair[0], &out.header, 0)
	r.add(ringRecvmsg, pair[1], &in.header, 1)
	r.add(ringRecvmsg, pair[1], &none.header, 2)
	r.do()
	want := []int32{4, 4, -int32(unix.EAGAIN)}
	if r.broken != 0 || !slices.Equal(r.results[:3], want) || got != sent {
		return fmt.Errorf("media: io_uring gives %v for a datagram, not %v: %v", r.results[:3], want, r.broken)
	}
	return nil
}

// add asks for a datagram to be sent or received. There are at most as many
// between two calls of do as the ring was made for.
func (r *ring) add(code uint8, fd int, header *unix.Msghdr, place int) {
	tail := *r.askTail + r.queued
	r.asks[tail&*r.askMask] = ask{
		code: code, fd: int32(fd), vectors: 1, flags: unix.MSG_DONTWAIT,
		header: uint64(uintptr(unsafe.Pointer(header))), place: uint64(place),
	}
	r.results[place] = -int32(unix.EAGAIN)
	r.queued++
}

// do has the system do what was asked for. results then has, of each place,
// how many octets it was, or below zero why there was none.
func (r *ring) do() {
	left := r.queued
	r.queued = 0
	atomic.StoreUint32(r.askTail, *r.askTail+left)
	for submit := left; left > 0; {
		// All is done by the time the queue is read; to wait for that says so to
		// a system which would rather do it later.
		n, _, errno := unix.RawSyscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd),
			uintptr(submit), uintptr(left), ringGetevents, 0, 0)
		if errno == 0 {
			submit -= uint32(n)
		}
		head, tail := *r.doneHead, atomic.LoadUint32(r.doneTail)
		for ; head != tail; head++ {
			d := &r.dones[head&*r.doneMask]
			r.results[d.place] = d.result
			left--
		}
		atomic.StoreUint32(r.doneHead, head)
		if errno != 0 && errno != unix.EINTR {
			// What was not taken must never be: its buffers have other uses soon.
			atomic.StoreUint32(r.askTail, atomic.LoadUint32(r.askHead))
			r.broken = errno
			return
		}
	}
}

// failed is why the ring, which may be nil, is not used any more; 0: it is. The
// worker's lock guards it.
func (r *ring) failed() unix.Errno {
	if r == nil {
		return 0
	}
	return r.broken
}

// carries says whether so many datagrams are better asked of the ring, which may
// be nil.
func (r *ring) carries(count int) bool {
	return r != nil && count >= ringFrom && r.broken == 0
}

func (r *ring) close() error {
	var errs []error
	for _, mapped := range [][]byte{r.shared, r.requests} {
		if mapped != nil {
			errs = append(errs, os.NewSyscallError("munmap", unix.Munmap(mapped)))
		}
	}
	return errors.Join(append(errs, os.NewSyscallError("close", unix.Close(r.fd)))...)
}
