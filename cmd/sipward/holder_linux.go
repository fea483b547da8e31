package main

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// holderOf names the program that has a port, as far as this process may see
// it: its command name and process id, else the user whom it belongs to.
func holderOf(network string, addr netip.AddrPort) string { return holderIn("/proc", network, addr) }

func holderIn(proc, network string, addr netip.AddrPort) string {
	held := heldSockets(proc, network, addr)
	if len(held) == 0 {
		return someProgram
	}
	for _, h := range held {
		if pid, ok := processOf(proc, h.inode); ok {
			name, err := os.ReadFile(filepath.Join(proc, pid, "comm"))
			if err != nil {
				return "the program with pid " + pid
			}
			return fmt.Sprintf("%s (pid %s)", clean(strings.TrimSuffix(string(name), "\n")), pid)
		}
	}
	if u, err := user.LookupId(held[0].uid); err == nil {
		return "a program of user " + clean(u.Username)
	}
	return "a program of user " + held[0].uid
}

// heldSocket is a line of /proc/net/udp and its like.
type heldSocket struct {
	uid, inode string
	listening  bool
}

// heldSockets finds the sockets that keep an address from being opened: those
// of the same port whose address is the same or stands for every address. Those
// that listen come first. Of the other family are in the way only those of [::],
// which may be open for both: open keeps its own of IPv6 to IPv6.
func heldSockets(proc, network string, addr netip.AddrPort) []heldSocket {
	var held []heldSocket
	for _, table := range []string{network, network + "6"} {
		f, err := os.Open(filepath.Join(proc, "net", table))
		if err != nil {
			continue
		}
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			// sl local_address rem_address st queues timer retransmits uid timeout inode
			fields := strings.Fields(lines.Text())
			if len(fields) < 10 {
				continue
			}
			local, ok := kernelAddress(fields[1])
			if !ok || local.Port() != addr.Port() || fields[9] == "0" {
				continue
			}
			at, want := local.Addr(), addr.Addr()
			if at.Is4() != want.Is4() && at != netip.IPv6Unspecified() {
				continue
			}
			if at != want && !at.IsUnspecified() && !want.IsUnspecified() {
				continue
			}
			held = append(held, heldSocket{uid: fields[7], inode: fields[9], listening: fields[3] == "0A" || network == "udp"})
		}
		f.Close()
	}
	slices.SortStableFunc(held, func(a, b heldSocket) int {
		switch {
		case a.listening == b.listening:
			return 0
		case a.listening:
			return -1
		default:
			return 1
		}
	})
	return held
}

// kernelAddress reads an address as the kernel prints it: 32-bit words in the
// machine's order of octets, then the port in the usual one.
func kernelAddress(s string) (netip.AddrPort, bool) {
	host, port, _ := strings.Cut(s, ":")
	octets, err := hex.DecodeString(host)
	n, err2 := strconv.ParseUint(port, 16, 16)
	if err != nil || err2 != nil || len(octets)%4 != 0 {
		return netip.AddrPort{}, false
	}
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		for word := range slices.Chunk(octets, 4) {
			slices.Reverse(word)
		}
	}
	ip, ok := netip.AddrFromSlice(octets)
	return netip.AddrPortFrom(ip.Unmap(), uint16(n)), ok
}

// processOf finds the process that has a socket open, among those whose open
// files this process may see. Of several it takes the lowest number, which most
// often is the one that has started the others.
func processOf(proc, inode string) (pid string, ok bool) {
	entries, err := os.ReadDir(proc)
	if err != nil {
		return "", false
	}
	var pids []int
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, n)
		}
	}
	slices.Sort(pids)
	want := "socket:[" + inode + "]"
	for _, n := range pids {
		pid := strconv.Itoa(n)
		files, err := os.ReadDir(filepath.Join(proc, pid, "fd"))
		if err != nil {
			continue // another user's, or gone
		}
		for _, f := range files {
			if to, err := os.Readlink(filepath.Join(proc, pid, "fd", f.Name())); err == nil && to == want {
				return pid, true
			}
		}
	}
	return "", false
}
