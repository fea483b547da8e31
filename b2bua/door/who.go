package door

import (
	"net/netip"
	"strings"
)

// Who is somebody that something is counted for: a source, a user, or both. The
// zero value is nobody.
type Who struct {
	source netip.Prefix // the zero Prefix: wherever it comes from
	user   string       // "": whoever it claims to be
}

// Stranger is a source outside. For IPv6 it is the /64: its owner has 2^64
// addresses to spoof from.
func Stranger(addr netip.Addr) Who {
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	p, _ := addr.Prefix(bits)
	return Who{source: p}
}

// Address is a source inside: one phone, one address.
func Address(addr netip.Addr) Who { return Who{source: netip.PrefixFrom(addr, addr.BitLen())} }

// Claim is a source inside with the user that it says it is.
func Claim(addr netip.Addr, user string) Who {
	w := Address(addr)
	w.user = strings.Clone(remembered(user))
	return w
}

// User is a user, wherever it comes from.
func User(name string) Who { return Who{user: strings.Clone(remembered(name))} }

// maxUserName is how many octets of a user are remembered: strangers write names
// as long as a datagram.
const maxUserName = 64

func remembered(user string) string { return user[:min(len(user), maxUserName)] }
