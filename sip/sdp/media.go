package sdp

import "strings"

// Media is what one m-line and its section say. Addresses are as they stand,
// without TTL: an IP address or a host name.
type Media struct {
	Kind      string   // audio, video, image, application, ...
	Port      int      // 0 for a rejected line and for one whose port cannot be one
	PortCount int      // number of ports, 1 unless the line says otherwise
	Proto     string   // as it stands, in any case of letters
	Formats   []string // payload types of an RTP line
	Addr      string   // c= of the section, else of the session; "" where neither names an IP address or host
	RTCPPort  int      // a=rtcp, else Port+1, whatever Mux says; 0 where Port is 0
	RTCPAddr  string   // address of a=rtcp where it differs from Addr, else ""
	Mux       bool     // a=rtcp-mux (RFC 5761)
	Direction string   // sendrecv, sendonly, recvonly or inactive: the section's, else the session's
	Rejected  bool     // the line says port 0, or has no port field at all
	RTP       bool     // RTP over UDP under a profile of RFC 3551, 4585, 3711, 5124 or 5764
	Secure    bool     // RTP under SAVP or SAVPF
	DTLS      bool     // RTP whose keys may come by DTLS: the profile says so, or a fingerprint is there (RFC 5763)
	Crypto    []string // values of the section's a=crypto lines, in order (RFC 4568)

	noConnection bool // neither the section nor the session has a c= of any kind
}

// Held says that the address is the one that puts a call on hold by being
// nowhere: 0.0.0.0 (RFC 3264 §8.4), :: or a name in .invalid (RFC 6157 §3.1).
func (m Media) Held() bool { return held(m.Addr) }

// PlainProto is the profile without SRTP that corresponds to the line's:
// RTP/AVP or RTP/AVPF. A line that is not RTP keeps its protocol.
func (m Media) PlainProto() string {
	if !m.RTP || !m.Secure {
		return m.Proto
	}
	profile, _ := splitRTP(m.Proto)
	return "RTP/" + profile[1:]
}

// Media reads the m-lines, in order. What it returns must not be changed: the next
// call returns the same, until the description is changed.
func (s *Session) Media() []Media {
	if s.packed != "" {
		return s.readMedia()
	}
	if s.media == nil {
		media := s.readMedia()
		s.media = &media
	}
	return *s.media
}

func (s *Session) readMedia() []Media {
	var (
		media   []Media
		session = Media{Direction: "sendrecv"} // what sections inherit
		cur     = &session
		ownAddr bool // this section has its own c=
		anyC    bool // the session has a c=, of whatever kind
		rtcp    string
	)
	finish := func() {
		if cur != &session {
			cur.readRTCP(rtcp)
		}
	}
	for _, l := range s.lines() {
		switch l.kind {
		case 'm':
			finish()
			media = append(media, readMedia(l))
			cur = &media[len(media)-1]
			cur.Addr, cur.Direction = session.Addr, session.Direction
			cur.noConnection = !anyC
			cur.DTLS = cur.RTP && (session.DTLS || strings.Contains(strings.ToUpper(cur.Proto), "TLS/"))
			ownAddr, rtcp = false, ""
		case 'c':
			anyC = anyC || cur == &session
			cur.noConnection = false
			if c, ok := readConnection(l.value()); ok && !ownAddr {
				cur.Addr, ownAddr = c, true
			}
		case 'a':
			switch key := attributeKey(l.value()); key {
			case "sendrecv", "sendonly", "recvonly", "inactive":
				cur.Direction = key
			case "fingerprint":
				cur.DTLS = cur == &session || cur.RTP
			case "crypto":
				_, v := l.attribute()
				cur.Crypto = append(cur.Crypto, v)
			case "rtcp-mux":
				cur.Mux = cur != &session // has no meaning at session level
			case "rtcp":
				if _, v := l.attribute(); rtcp == "" {
					rtcp = v
				}
			}
		}
	}
	finish()
	return media
}

// readMedia reads an m-line (RFC 8866 §5.14).
func readMedia(l line) Media {
	f := strings.Fields(l.value())
	m := Media{PortCount: 1, Rejected: true}
	if len(f) > 0 {
		m.Kind = f[0]
	}
	if len(f) > 1 {
		port, count, counted := strings.Cut(f[1], "/")
		n, ok := decimal(port)
		m.Rejected = ok && n == 0
		if ok && n <= 65535 {
			m.Port = n
		}
		if c, ok := decimal(count); counted && ok && c > 0 {
			m.PortCount = c
		}
	}
	if len(f) > 2 {
		m.Proto = f[2]
		m.Formats = f[3:]
		var profile string
		profile, m.RTP = splitRTP(m.Proto)
		m.Secure = m.RTP && profile[0] == 'S'
	}
	return m
}

// splitRTP takes the profile out of a protocol that is RTP over UDP. RTP over
// TCP or DCCP is not: nothing here could relay it.
func splitRTP(proto string) (profile string, ok bool) {
	p := strings.ToUpper(proto)
	p = strings.TrimPrefix(p, "UDP/")
	p = strings.TrimPrefix(p, "TLS/")
	p, ok = strings.CutPrefix(p, "RTP/")
	p = strings.TrimSuffix(p, "/UDP")
	switch p {
	case "AVP", "AVPF", "SAVP", "SAVPF":
		return p, ok
	}
	return "", false
}

// readRTCP takes in the value of a=rtcp (RFC 3605), "" where there is none.
func (m *Media) readRTCP(value string) {
	if m.Port == 0 {
		return
	}
	if m.Port < 65535 {
		m.RTCPPort = m.Port + 1
	}
	f := strings.Fields(value)
	if len(f) == 0 {
		return
	}
	if n, ok := decimal(f[0]); ok && n > 0 && n <= 65535 {
		m.RTCPPort = n
	}
	if len(f) > 3 {
		if a := trimTTL(f[3]); a != m.Addr {
			m.RTCPAddr = a
		}
	}
}

// readConnection takes the address out of the value of a c= line. It is not ok
// where the line is of another kind of network, such as a telephone number.
func readConnection(value string) (addr string, ok bool) {
	f := strings.Fields(value)
	if len(f) < 3 || !isFamily(f[1]) {
		return "", false
	}
	return trimTTL(f[2]), true
}

func isFamily(s string) bool {
	return strings.EqualFold(s, "IP4") || strings.EqualFold(s, "IP6")
}

// trimTTL cuts the TTL and the count off a multicast address.
func trimTTL(addr string) string {
	addr, _, _ = strings.Cut(addr, "/")
	return addr
}

// withPort is an m-line with another port. The count goes unless it is 1: there
// are as many ports as the caller has, which is one.
func (l line) withPort(port int) line {
	v := l.value()
	f := fieldSpans(v, 2)
	if len(f) < 2 {
		return l
	}
	old, count, counted := strings.Cut(v[f[1].from:f[1].to], "/")
	text := itoa(port)
	if n, ok := decimal(old); ok && n == port {
		text = old
	}
	if counted && count == "1" {
		text += "/1"
	}
	return l.with(v[:f[1].from] + text + v[f[1].to:])
}
