package sip

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// lines joins a message's lines, the empty one behind the header included.
func lines(l ...string) string { return strings.Join(l, "\r\n") + "\r\n\r\n" }

func TestMessagesComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, in string
		want     string // "": the same octets
	}{
		{"request", lines("INVITE sip:bob@example.com SIP/2.0", "Via: SIP/2.0/UDP a.example.com;branch=z9hG4bK1", "Subject: a, b; c", "X-Other: \"quoted\"", "Content-Length: 0"), ""},
		{"response", lines("SIP/2.0 180 Ringing", "Via: SIP/2.0/UDP a", "Content-Length: 0"), ""},
		{"body", lines("MESSAGE sip:bob@example.com SIP/2.0", "Content-Type: text/plain", "Content-Length: 6") + "a\r\n\x00\xffb", ""},
		{"another scheme", lines("INVITE tel:+4930123;phone-context=x SIP/2.0", "Content-Length: 0"), ""},
		{"URI parameters keep their order", lines("INVITE sip:+1;npdi=yes;a=b@gw.example.com:5080;user=phone;lr;transport=tcp SIP/2.0", "Content-Length: 0"), ""},
		{"method of its own, case kept", lines("newMethod sip:b@example.com SIP/2.0", "CSeq: 1 newMethod", "Content-Length: 0"), ""},
		{"empty reason", "SIP/2.0 200 \r\nContent-Length: 0\r\n\r\n", ""},
		{"no reason", "SIP/2.0 200\r\n\r\n", "SIP/2.0 200 \r\nContent-Length: 0\r\n\r\n"},
		{"non-ASCII reason and display name", lines("SIP/2.0 200 = 2**3 * 5**2 но сто девяносто", "From: \"Евгений\" <sip:e@example.com>;tag=1", "Content-Length: 0"), ""},
		{"version in lower case", lines("BYE sip:b@example.com sip/2.0"), lines("BYE sip:b@example.com SIP/2.0", "Content-Length: 0")},
		{"Content-Length is moved and made true", lines("BYE sip:b@example.com SIP/2.0", "l: 3", "To: <sip:b>") + "abcdef", lines("BYE sip:b@example.com SIP/2.0", "To: <sip:b>", "Content-Length: 3") + "abc"},
		{"no Content-Length: the datagram ends the body", lines("BYE sip:b@example.com SIP/2.0") + "abc", lines("BYE sip:b@example.com SIP/2.0", "Content-Length: 3") + "abc"},
		{"line ends in front", "\r\n\r\n" + lines("BYE sip:b@example.com SIP/2.0", "Content-Length: 0"), lines("BYE sip:b@example.com SIP/2.0", "Content-Length: 0")},
		{"compact names", lines("SIP/2.0 200 OK", "v: 1", "f: 2", "t: 3", "i: 4", "m: 5", "c: 6", "k: 7", "s: 8", "e: 9", "l: 0"),
			lines("SIP/2.0 200 OK", "Via: 1", "From: 2", "To: 3", "Call-ID: 4", "Contact: 5", "Content-Type: 6", "Supported: 7", "Subject: 8", "Content-Encoding: 9", "Content-Length: 0")},
		{"names in any case", lines("SIP/2.0 200 OK", "CALL-id: 1", "cseq: 2", "x-Own: 3"), lines("SIP/2.0 200 OK", "Call-ID: 1", "CSeq: 2", "x-Own: 3", "Content-Length: 0")},
		{"white space around the colon", lines("SIP/2.0 200 OK", "To \t:  \t<sip:b> \t", "Subject:"), lines("SIP/2.0 200 OK", "To: <sip:b>", "Subject: ", "Content-Length: 0")},
		{"folded", lines("SIP/2.0 200 OK", "Subject: one ", "\ttwo", "   three", "Content-Length:", " 2") + "ab", lines("SIP/2.0 200 OK", "Subject: one two three", "Content-Length: 2") + "ab"},
		{"folded to nothing", lines("SIP/2.0 200 OK", "Subject:", " ", " x"), lines("SIP/2.0 200 OK", "Subject: x", "Content-Length: 0")},
		{"equal Content-Lengths", lines("SIP/2.0 200 OK", "l: 1", "Content-Length: 01") + "a", lines("SIP/2.0 200 OK", "Content-Length: 1") + "a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m, err := Parse([]byte(tt.in))
			if err != nil {
				t.Fatal(err)
			}
			want := tt.want
			if want == "" {
				want = tt.in
			}
			got := m.Bytes()
			if string(got) != want {
				t.Errorf("written as\n%q, want\n%q", got, want)
			}
			again, err := Parse(got)
			if err != nil || !same(m, again) {
				t.Errorf("read again as %+v (%v), want %+v", again, err, m)
			}
		})
	}
}

func same(a, b *Message) bool {
	return a.Method == b.Method && a.URI == b.URI && a.Status == b.Status && a.Reason == b.Reason && slices.Equal(a.Fields, b.Fields) && bytes.Equal(a.Body, b.Body)
}

func TestMalformedMessages(t *testing.T) {
	t.Parallel()
	const start = "BYE sip:b@example.com SIP/2.0\r\n"
	tests := []struct {
		name, in   string
		answerable bool // the message comes back beside the error
	}{
		{"empty", "", false},
		{"line ends", "\r\n\r\n", false},
		{"HTTP", "GET / HTTP/1.1\r\n\r\n", false},
		{"STUN", "\x00\x01\x00\x00\x21\x12\xa4\x42\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", false},
		{"no line end", "BYE sip:b@example.com SIP/2.0", false},
		{"line feeds alone", "BYE sip:b@example.com SIP/2.0\nTo: <sip:b>\n\n", false},
		{"method is no token", "B@E sip:b@example.com SIP/2.0\r\n\r\n", false},
		{"method with a dotless i", "\u0131NVITE sip:b@example.com SIP/2.0\r\n\r\n", false},
		{"no URI", "BYE SIP/2.0\r\n\r\n", false},
		{"status of two digits", "SIP/2.0 20 OK\r\n\r\n", false},
		{"status of ten digits", "SIP/2.0 4294967301 better not\r\n\r\n", false},
		{"status 700", "SIP/2.0 700 x\r\n\r\n", false},
		{"status 099", "SIP/2.0 099 x\r\n\r\n", false},
		{"status with sign", "SIP/2.0 +20 x\r\n\r\n", false},
		{"response of another version", "SIP/3.0 200 OK\r\n\r\n", false},
		{"line feed in the reason", "SIP/2.0 200 O\nK\r\n\r\n", false},
		{"longer than a datagram", start + "X: " + strings.Repeat("x", MaxMessage) + "\r\n\r\n", false},

		{"another version", "BYE sip:b@example.com SIP/7.0\r\n\r\n", true},
		{"URI in angle brackets", "BYE <sip:b@example.com> SIP/2.0\r\n\r\n", true},
		{"URI without scheme", "BYE b@example.com SIP/2.0\r\n\r\n", true},
		{"blanks in the start line", "BYE  sip:b@example.com  SIP/2.0\r\n\r\n", true},
		{"blank in the URI", "BYE sip:b@example.com;a b SIP/2.0\r\n\r\n", true},
		{"line feed in the URI", "BYE sip:b\n@example.com SIP/2.0\r\n\r\n", true},
		{"no end of the header fields", start + "To: <sip:b>\r\n", true},
		{"cut within a field", start + "To: <sip", true},
		{"field without colon", start + "To\r\n\r\n", true},
		{"field without name", start + ": x\r\n\r\n", true},
		{"blank in a name", start + "T o: x\r\n\r\n", true},
		{"line feed in a value", start + "Subject: x\nVia: SIP/2.0/UDP evil\r\n\r\n", true},
		{"carriage return in a value", start + "Subject: x\rVia: SIP/2.0/UDP evil\r\n\r\n", true},
		{"NUL in a value", start + "Subject: x\x00y\r\n\r\n", true},
		{"folding of nothing", start + " x\r\n\r\n", true},
		{"body too short", start + "Content-Length: 5\r\n\r\nabc", true},
		{"negative Content-Length", start + "Content-Length: -1\r\n\r\nabc", true},
		{"Content-Length in words", start + "Content-Length: five\r\n\r\nabc", true},
		{"Content-Length beyond all bounds", start + "Content-Length: 99999999999999999999\r\n\r\nabc", true},
		{"Content-Lengths differ", start + "Content-Length: 3\r\nl: 2\r\n\r\nabc", true},
		{"too many fields", start + strings.Repeat("a:b\r\n", maxFields+1) + "\r\n", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m, err := Parse([]byte(tt.in))
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("error %v", err)
			}
			if (m != nil) != tt.answerable {
				t.Fatalf("message %+v", m)
			}
			if m == nil {
				return
			}
			for _, f := range m.Fields {
				if hasControl(f.Value) || !isToken(f.Name) {
					t.Errorf("%q could not be written again", f)
				}
			}
			if res := NewResponse(m, 400, "", "t").Bytes(); bytes.Contains(bytes.ReplaceAll(res, crlf, nil), []byte("\n")) {
				t.Errorf("response %q", res)
			}
		})
	}
}

// A datagram full of continuation lines must not cost more than its length.
// Not parallel: it counts what the process allocates.
func TestFoldingIsLinear(t *testing.T) {
	b := []byte("BYE sip:b@example.com SIP/2.0\r\nSubject: x\r\n" + strings.Repeat(" a\r\n", 16000) + "\r\n")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := Parse(b); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if spent := after.TotalAlloc - before.TotalAlloc; spent > 1<<20 {
		t.Errorf("reading %d octets allocated %d", len(b), spent)
	}
}

func TestFieldsOfAMessage(t *testing.T) {
	t.Parallel()
	m := &Message{Status: 200, Fields: []Field{{"Via", "a, b"}, {"Subject", "x"}, {"Via", "c"}, {"Supported", "100rel, TIMER"}}}
	if got := m.Values("via"); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("Values %q", got)
	}
	if m.Get("SUBJECT") != "x" || m.Get("None") != "" || !m.Has("subject") || m.Has("none") {
		t.Error("Get or Has")
	}
	if !m.HasToken("Supported", "timer") || m.HasToken("Supported", "time") || m.HasToken("Require", "timer") {
		t.Error("HasToken")
	}
	c := m.Clone()
	c.Set("Via", "d")
	c.Set("New", "n")
	c.Remove("Subject")
	if want := []Field{{"Via", "d"}, {"Supported", "100rel, TIMER"}, {"New", "n"}}; !slices.Equal(c.Fields, want) {
		t.Errorf("changed to %v, want %v", c.Fields, want)
	}
	if len(m.Fields) != 4 || m.Fields[0].Value != "a, b" {
		t.Errorf("the original changed as well: %v", m.Fields)
	}
	c.SetBody("text/plain", []byte("x"))
	if c.ContentType() != "text/plain" {
		t.Errorf("type %q", c.ContentType())
	}
	c.SetBody("text/plain", nil)
	if c.Has("Content-Type") {
		t.Error("an empty body keeps a type")
	}
	c.Set("Content-Type", " Text/Plain ; charset=utf-8")
	if c.ContentType() != "text/plain" {
		t.Errorf("type %q", c.ContentType())
	}
}

func TestCSeq(t *testing.T) {
	t.Parallel()
	tests := []struct {
		value  string
		seq    uint32
		method string
		ok     bool
	}{
		{"1 INVITE", 1, "INVITE", true},
		{"0 OPTIONS", 0, "OPTIONS", true},
		{"0009 \t INVITE", 9, "INVITE", true},
		{"7\tACK", 7, "ACK", true},
		{"2147483647 BYE", 2147483647, "BYE", true},
		{"2147483648 BYE", 0, "", false},
		{"4294967297 BYE", 0, "", false},
		{"-1 BYE", 0, "", false},
		{"+1 BYE", 0, "", false},
		{"0x1 BYE", 0, "", false},
		{"1", 0, "", false},
		{"INVITE", 0, "", false},
		{"1 ", 0, "", false},
		{"1 IN VITE", 0, "", false},
		{"", 0, "", false},
	}
	for _, tt := range tests {
		m := &Message{Fields: []Field{{"CSeq", tt.value}}}
		if seq, method, ok := m.CSeq(); seq != tt.seq || method != tt.method || ok != tt.ok {
			t.Errorf("%q: %d %q %v", tt.value, seq, method, ok)
		}
	}
}

func TestListsAreSplit(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		want []string
	}{
		{"", nil},
		{" , ,", nil},
		{"a", []string{"a"}},
		{"a,b , c", []string{"a", "b", "c"}},
		{`"Bob, the \"one\", x" <sip:b@x>, <sip:c,d@x>;q=1`, []string{`"Bob, the \"one\", x" <sip:b@x>`, "<sip:c,d@x>;q=1"}},
		{`"never closed, a`, []string{`"never closed, a`}},
		{`"ends in \`, []string{`"ends in \`}},
		{"<never, closed", []string{"<never, closed"}},
	}
	for _, tt := range tests {
		if got := splitList(tt.in); !slices.Equal(got, tt.want) {
			t.Errorf("%q split into %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestNewResponse(t *testing.T) {
	t.Parallel()
	req, err := Parse([]byte(lines("INVITE sip:b@example.com SIP/2.0", "v: SIP/2.0/UDP a;branch=1, SIP/2.0/UDP b;branch=2", "Via: SIP/2.0/UDP c;branch=3",
		"Record-Route: <sip:r;lr>", "f: <sip:a@x>;tag=f", "t: \"B\" <sip:b@x>", "i: id", "CSeq: 1 INVITE", "Contact: <sip:a@x>", "Subject: s")))
	if err != nil {
		t.Fatal(err)
	}
	common := []Field{{"Via", "SIP/2.0/UDP a;branch=1, SIP/2.0/UDP b;branch=2"}, {"Via", "SIP/2.0/UDP c;branch=3"}}
	from, rr := Field{"From", "<sip:a@x>;tag=f"}, Field{"Record-Route", "<sip:r;lr>"}
	rest := []Field{{"Call-ID", "id"}, {"CSeq", "1 INVITE"}}
	tests := []struct {
		status int
		reason string
		want   *Message
	}{
		{100, "", &Message{Status: 100, Reason: "Trying", Fields: slices.Concat(common, []Field{from, {"To", `"B" <sip:b@x>`}}, rest)}},
		{183, "", &Message{Status: 183, Reason: "Session Progress", Fields: slices.Concat(common, []Field{rr, from, {"To", `"B" <sip:b@x>;tag=t`}}, rest)}},
		{404, "Nobody", &Message{Status: 404, Reason: "Nobody", Fields: slices.Concat(common, []Field{from, {"To", `"B" <sip:b@x>;tag=t`}}, rest)}},
	}
	for _, tt := range tests {
		if got := NewResponse(req, tt.status, tt.reason, "t"); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%d:\n%+v, want\n%+v", tt.status, got, tt.want)
		}
	}
	req.Set("To", "<sip:b@x>;tag=theirs")
	if got := NewResponse(req, 200, "", "t").Get("To"); got != "<sip:b@x>;tag=theirs" {
		t.Errorf("a tag that is there was changed: %q", got)
	}
}

func TestReasonPhrases(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]string{200: "OK", 299: "OK", 491: "Request Pending", 499: "Bad Request", 699: "Busy Everywhere", 42: "Unknown"} {
		if got := ReasonPhrase(status); got != want {
			t.Errorf("%d: %q, want %q", status, got, want)
		}
	}
}

func TestValidation(t *testing.T) {
	t.Parallel()
	good := []Field{{"Via", "SIP/2.0/UDP a;branch=z9hG4bK1"}, {"From", "<sip:a@x>;tag=1"}, {"To", "<sip:b@x>"}, {"Call-ID", "id"}, {"CSeq", "1 BYE"}}
	tests := []struct {
		name  string
		field string
		value string // "-": without the field; "2": twice
		want  string // "": fine
	}{
		{"as it should be", "Subject", "x", ""},
		{"no Via", "Via", "-", "no Via"},
		{"no From", "From", "-", "no From"},
		{"no To", "To", "-", "no To"},
		{"no Call-ID", "Call-ID", "-", "no Call-ID"},
		{"no CSeq", "CSeq", "-", "no CSeq"},
		{"two Froms", "From", "2", "more than one From"},
		{"two Tos", "To", "2", "more than one To"},
		{"two Call-IDs", "Call-ID", "2", "more than one Call-ID"},
		{"two CSeqs", "CSeq", "2", "more than one CSeq"},
		{"two Vias", "Via", "2", ""},
		{"CSeq of another method", "CSeq", "1 INVITE", "CSeq names another method"},
		{"CSeq in lower case", "CSeq", "1 bye", "CSeq names another method"},
		{"CSeq without method", "CSeq", "1", "CSeq"},
		{"CSeq too high", "CSeq", "2147483648 BYE", "CSeq"},
		{"empty Call-ID", "Call-ID", "", "Call-ID"},
		{"endless Call-ID", "Call-ID", strings.Repeat("x", 513), "Call-ID"},
		{"From without tag", "From", "<sip:a@x>", "From has no tag"},
		{"tag in the URI is none", "From", "<sip:a@x;tag=1>", "From has no tag"},
		{"tag in quotes is none", "From", `<sip:a@x>;x=";tag=1"`, "From has no tag"},
		{"From not to be read", "From", "sip:a@x>;tag=1", "From"},
		{"From with garbage behind", "From", "<sip:a@x>, <sip:b@x>;tag=1", "From"},
		{"From without host", "From", "<sip:>;tag=1", "From"},
		{"endless From tag", "From", "<sip:a@x>;tag=" + strings.Repeat("x", 257), "From"},
		{"To not to be read", "To", `"Bob <sip:b@x>`, "To"},
		{"endless To tag", "To", "<sip:b@x>;tag=" + strings.Repeat("x", 257), "To"},
		{"Via without value", "Via", " , ", "Via"},
		{"Via not to be read", "Via", "SIP/2.0 a;branch=1", "Via"},
		{"Via of another version", "Via", "SIP/3.0/UDP a;branch=1", "Via"},
		{"Via without branch", "Via", "SIP/2.0/UDP a", "Via has no branch"},
		{"branch in quotes is none", "Via", `SIP/2.0/UDP a;x=";branch=1"`, "Via has no branch"},
		{"endless branch", "Via", "SIP/2.0/UDP a;branch=" + strings.Repeat("x", 257), "Via has no branch"},
		{"tel in From and To", "From", "<tel:+49301>;tag=1", ""},
	}
	for _, tt := range tests {
		m := &Message{Method: "BYE", URI: URI{Scheme: "sip", Host: "x"}, Fields: slices.Clone(good)}
		switch tt.value {
		case "-":
			m.Remove(tt.field)
		case "2":
			m.Add(tt.field, m.Get(tt.field))
		default:
			m.Set(tt.field, tt.value)
		}
		got := validate(m)
		if tt.want == "" && got != nil || tt.want != "" && (got == nil || got.Error() != fmt.Sprint(ErrMalformed, ": ", tt.want)) {
			t.Errorf("%s: %v, want %q", tt.name, got, tt.want)
		}
	}
	// Of a response, the tag may be the business of another hop, but a second
	// Via says that it is not for us.
	res := &Message{Status: 200, Fields: slices.Clone(good)}
	res.Set("From", "<sip:a@x>")
	if err := validate(res); err != nil {
		t.Error(err)
	}
	res.Add("Via", "SIP/2.0/UDP b;branch=2")
	if validate(res) == nil {
		t.Error("a response with two Vias passed")
	}
}

// Some user agents read the first of several Supported fields only.
func TestOneSupportedField(t *testing.T) {
	t.Parallel()
	m := &Message{Method: "INVITE"}
	m.addAll([]Field{{"Supported", "timer"}, {"Session-Expires", "1800"}, {"Supported", "dh-srtp, 100rel"}, {"Require", "a"}, {"Require", "b"}})
	want := []Field{{"Supported", "timer, dh-srtp, 100rel"}, {"Session-Expires", "1800"}, {"Require", "a"}, {"Require", "b"}}
	if !slices.Equal(m.Fields, want) {
		t.Errorf("%v, want %v", m.Fields, want)
	}
}
