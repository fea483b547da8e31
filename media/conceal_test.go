package media

import (
	"bytes"
	"strings"
	"testing"
)

// chunk is one of a source description: items are a type and a text each.
func chunk(ssrc uint32, items ...any) []byte {
	b := words(ssrc)
	for i := 0; i < len(items); i += 2 {
		text := items[i+1].(string)
		b = append(append(b, byte(items[i].(int)), byte(len(text))), text...)
	}
	return append(b, make([]byte, 4-len(b)%4)...)
}

func description(chunks ...[]byte) []byte {
	body := bytes.Join(chunks, nil)
	return append([]byte{0x80 | byte(len(chunks)), rtcpSDES, 0, byte(len(body) / 4)}, body...)
}

// What a phone calls itself leaves under another name of the same length, the
// same for all its streams; other items do not leave at all.
func TestConceal(t *testing.T) {
	t.Parallel()
	const secret = "alice@10.1.0.2"
	r := newRig(t)
	r.session.SetMode(A, Plain)
	r.session.SetMode(B, Plain)
	r.session.Conceal(B, [16]byte{1})
	report := senderReport(7)[:28]
	bye := words(0x81cb0001, 7)
	sent := append(append(bytes.Clone(report), description(chunk(7, 1, secret, 2, "Alice", 6, "PhoneOS"), chunk(8, 5, "room 7", 1, secret), chunk(9, 1, "bob@x"), chunk(10))...), bye...)
	r.phoneRTCP(sent)
	got := r.one().pkt
	if bytes.Contains(got, []byte("alice")) || bytes.Contains(got, []byte("Alice")) || bytes.Contains(got, []byte("room")) || bytes.Contains(got, []byte("Phone")) || bytes.Contains(got, []byte("bob")) {
		t.Errorf("left as %q", got)
	}
	if !bytes.HasPrefix(got, report) || !bytes.HasSuffix(got, bye) {
		t.Errorf("other packets changed: %x", got)
	}
	name := string(got[28+4+4+2:][:len(secret)])
	want := append(append(bytes.Clone(report), description(chunk(7, 1, name), chunk(8, 1, name), chunk(9, 1, string(got[28+4+48+6:][:5])), chunk(10))...), bye...)
	if !bytes.Equal(got, want) {
		t.Errorf("left as\n%x, want\n%x", got, want)
	}
	r.farRTCP(sent) // towards the phone nothing is hidden
	if back := r.one().pkt; !bytes.Equal(back, sent) {
		t.Errorf("towards the phone: %x", back)
	}
	// Under another key it is another name.
	r.session.Conceal(B, [16]byte{2})
	r.phoneRTCP(sent)
	if again := r.one().pkt; bytes.Contains(again, []byte(name)) {
		t.Error("the name is the same under another key")
	}
}

func TestConcealRefusesMalformed(t *testing.T) {
	t.Parallel()
	good := description(chunk(7, 1, "a@b"))
	c := concealment{on: true}
	for name, pkt := range map[string][]byte{
		"cut short":           good[:len(good)-4],
		"no end of items":     append([]byte{0x81, rtcpSDES, 0, 2}, words(7, 0x01020304)...),
		"text past the end":   append([]byte{0x81, rtcpSDES, 0, 2}, words(7, 0x01ff3040)...),
		"too few chunks":      append([]byte{0x82}, good[1:]...),
		"padding of nothing":  append([]byte{0xa1}, good[1:]...),
		"version 1":           append([]byte{0x41}, good[1:]...),
		"three octets behind": append(bytes.Clone(good), 0x80, 201, 0),
	} {
		if out, ok := c.rtcp(bytes.Clone(pkt)); ok {
			t.Errorf("%s: let through as %x", name, out)
		}
	}
}

// A compound that the concealment lets out is still one that the rest of this
// package can read, is no longer than it was, and holds no text of an item.
func FuzzConceal(f *testing.F) {
	f.Add(append(senderReport(7), description(chunk(7, 1, "alice@10.1.0.2", 2, "Alice"), chunk(8, 1, "x"))...))
	f.Add(receiverReport(7, 8, 9))
	f.Add(description(chunk(1, 8, "\x03keyvalue", 1, strings.Repeat("n", 255))))
	f.Add([]byte{0xa1, rtcpSDES, 0, 3, 0, 0, 0, 7, 1, 0, 0, 0, 0, 0, 0, 4})
	f.Fuzz(func(t *testing.T, pkt []byte) {
		c := concealment{on: true, key: [16]byte{9}}
		numbering := newNumbering()
		_, readable := numbering.rewrite(bytes.Clone(pkt), outward)
		in := bytes.Clone(pkt)
		out, ok := c.rtcp(in)
		if readable && !ok && !aboutNobody(pkt) {
			t.Fatalf("refused %x", pkt)
		}
		if !ok {
			return
		}
		if len(out) > len(pkt) || len(out)%4 != 0 {
			t.Fatalf("%d octets became %d", len(pkt), len(out))
		}
		if again, ok := c.rtcp(bytes.Clone(out)); !ok || len(again) != len(out) {
			t.Fatalf("%x cannot be read again", out)
		}
		if readable {
			numbering = newNumbering()
			if _, ok := numbering.rewrite(bytes.Clone(out), outward); !ok {
				t.Fatalf("%x became %x, which is no compound", pkt, out)
			}
		}
		for rest := out; len(rest) > 0; {
			size := 4 + 4*int(rest[3]) + 1024*int(rest[2])
			if rest[1] == rtcpSDES {
				for at, chunks := 4, int(rest[0]&0x1f); chunks > 0; chunks-- {
					for at += 4; rest[at] != 0; at += 2 + int(rest[at+1]) {
						if rest[at] != sdesCNAME || strings.Trim(string(rest[at+2:][:rest[at+1]]), "0123456789abcdef") != "" {
							t.Fatalf("item %d left in %x", rest[at], out)
						}
					}
					at = at&^3 + 4
				}
			}
			rest = rest[size:]
		}
	})
}

// aboutNobody says that a well-formed compound has a source description without
// chunks, which may hold no text either.
func aboutNobody(pkt []byte) bool {
	for len(pkt) > 0 {
		if pkt[1] == rtcpSDES && pkt[0]&0x1f == 0 {
			return true
		}
		pkt = pkt[4+4*int(pkt[3])+1024*int(pkt[2]):]
	}
	return false
}
