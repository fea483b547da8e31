package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// addressPoll is how often addresses are looked at without a word from the
// system: a message of its may have been lost.
const addressPoll = time.Minute

// watchAddresses tells, on a channel that it returns, that an address or a route
// of this machine was added or went, until ctx is done: the system sends a
// message for each (rtnetlink(7)). One element stands for all since the last was
// taken.
func watchAddresses(ctx context.Context) (<-chan struct{}, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("changes of addresses are not heard of: %w", os.NewSyscallError("socket", err))
	}
	err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK,
		Groups: unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR | unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV6_ROUTE})
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("changes of addresses are not heard of: %w", os.NewSyscallError("bind", err))
	}
	f := os.NewFile(uintptr(fd), "rtnetlink")
	context.AfterFunc(ctx, func() { f.Close() })
	changed := make(chan struct{}, 1)
	go func() {
		buf := make([]byte, 64<<10)
		for {
			// What has changed is looked up afresh, so the messages are not read.
			// ENOBUFS says that some did not fit, which is a message too.
			if _, err := f.Read(buf); err != nil && !errors.Is(err, unix.ENOBUFS) {
				return
			}
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	}()
	return changed, nil
}
