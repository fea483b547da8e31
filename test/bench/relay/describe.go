package relay

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// describe writes the SDP of one audio stream (RFC 8866).
func describe(at netip.AddrPort, profile string, attributes ...string) string {
	lines := []string{
		"v=0",
		"o=bench 1 1 IN IP4 " + at.Addr().String(),
		"s=-",
		"c=IN IP4 " + at.Addr().String(),
		"t=0 0",
		fmt.Sprintf("m=audio %d %s 0", at.Port(), profile),
		"a=rtpmap:0 PCMU/8000",
		"a=ptime:20",
		"a=sendrecv",
	}
	return strings.Join(append(lines, attributes...), "\r\n") + "\r\n"
}

// description is what counts of an SDP with one audio stream.
type description struct {
	at     netip.AddrPort
	crypto map[string]cryptoLine // by suite
}

// cryptoLine is an attribute of RFC 4568.
type cryptoLine struct{ tag, key string }

func read(sdp string) (description, error) {
	d := description{crypto: map[string]cryptoLine{}}
	var addr netip.Addr
	var port int
	var err error
	for line := range strings.Lines(sdp) {
		line = strings.TrimSpace(line)
		fields := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "c=IN IP4 "):
			addr, err = netip.ParseAddr(fields[2])
		case strings.HasPrefix(line, "m=audio ") && len(fields) > 1:
			port, err = strconv.Atoi(fields[1])
		case strings.HasPrefix(line, "a=crypto:") && len(fields) > 2:
			key, _, _ := strings.Cut(strings.TrimPrefix(fields[2], "inline:"), "|")
			d.crypto[fields[1]] = cryptoLine{strings.TrimPrefix(fields[0], "a=crypto:"), key}
		}
		if err != nil {
			return description{}, fmt.Errorf("line %q of an SDP: %w", line, err)
		}
	}
	if !addr.IsValid() || port < 1 || port > 65535 {
		return description{}, fmt.Errorf("an SDP without address and port of audio: %q", sdp)
	}
	d.at = netip.AddrPortFrom(addr, uint16(port))
	return d, nil
}
