package registrar

import (
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func textLog(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

// recordExample is what files of this version hold; it has to stay readable.
const recordExample = `{"bindings":[{"contact":"sip:a@192.0.2.7;ob","network":"udp","listener":"phones","remote":"192.0.2.7:5060","callId":"x&y<1>","cseq":4294967295,"updated":1772366400000,"expires":1772370000000,"q":700}]}`

func TestRecord(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	want := Binding{
		AOR: alice, Contact: "sip:a@192.0.2.7;ob", Source: source, CallID: "x&y<1>", CSeq: 1<<32 - 1,
		Updated: at.Local(), Expires: at.Add(time.Hour).Local(), Q: 700,
	}
	if got := string(encode([]Binding{want})); got != recordExample+"\n" {
		t.Errorf("written: %s", got)
	}
	got, err := decode(alice, []byte(recordExample))
	if err != nil || len(got) != 1 || got[0] != want {
		t.Errorf("read: %+v, %v", got, err)
	}
	if _, err := decode(alice, []byte(strings.Replace(recordExample, `"q"`, `"new":[1],"q"`, 1))); err != nil {
		t.Errorf("a field of later: %v", err)
	}
}

func TestRecordsRefused(t *testing.T) {
	t.Parallel()
	change := func(old, new string) string {
		if !strings.Contains(recordExample, old) {
			t.Fatal(old)
		}
		return strings.Replace(recordExample, old, new, 1)
	}
	long := strings.Repeat("x", 3000)
	for _, tt := range []struct{ name, aor, record string }{
		{"another key", "alice", recordExample},
		{"a key in another form", "sip:alice@A.example", recordExample},
		{"empty", alice, ""},
		{"no JSON", alice, "bindings"},
		{"nothing", alice, "{}"},
		{"two records", alice, recordExample + recordExample},
		{"too many", alice, `{"bindings":[` + strings.Repeat(`{"contact":"sip:a@h","callId":"x"},`, limitPerUser) + `{"contact":"sip:a@h","callId":"x"}]}`},
		{"a contact that is none", alice, change("sip:a@", "mailto:a@")},
		{"a long contact", alice, change(";ob", ";"+long)},
		{"a long Call-ID", alice, change("x&y", long)},
		{"no Call-ID", alice, change("x&y<1>", "")},
		{"a long listener", alice, change("phones", long)},
		{"a CSeq too great", alice, change("4294967295", "4294967296")},
		{"a q too great", alice, change(":700", ":1001")},
		{"a q below zero", alice, change(":700", ":-1")},
		{"a time before all", alice, change("1772366400000", "-1")},
		{"a time beyond all", alice, change("1772370000000", "1772370000000000000")},
		{"no address", alice, change("192.0.2.7:5060", "phone")},
	} {
		if got, err := decode(tt.aor, []byte(tt.record)); err == nil {
			t.Errorf("%s: read as %+v", tt.name, got)
		}
	}
}

// The greatest record there can be fits what a store takes for a value.
func TestGreatestRecord(t *testing.T) {
	t.Parallel()
	var bindings []Binding
	for range limitPerUser {
		bindings = append(bindings, Binding{
			Contact: "sip:" + strings.Repeat("&", maxContact-6) + "@h",
			CallID:  strings.Repeat("\x01", maxCallID),
			Source: Source{
				Network: strings.Repeat("\x01", maxName), Listener: strings.Repeat("\x01", maxName),
				Remote: netip.AddrPortFrom(netip.MustParseAddr("fe80::1").WithZone(strings.Repeat("\x01", maxName)), 5060),
			},
		})
	}
	if n := len(encode(bindings)); n > 1<<20 {
		t.Errorf("%d octets", n)
	}
}

// What is read can be written, and is then read as the same.
func FuzzDecode(f *testing.F) {
	f.Add(alice, []byte(recordExample))
	f.Add("sip:a@[::1]", []byte(`{"bindings":[{"contact":"sip:\u00e9@h","callId":"\ud800","remote":""},{"contact":"SIP:h","callId":"y","remote":"[fe80::1%e]:1","q":1000}]}`))
	f.Fuzz(func(t *testing.T, aor string, value []byte) {
		bindings, err := decode(aor, value)
		if err != nil {
			return
		}
		again, err := decode(aor, encode(bindings))
		if err != nil || !slices.Equal(bindings, again) {
			t.Errorf("%+v is read again as %+v, %v", bindings, again, err)
		}
		// A registrar answers requests about them.
		k := newKeeper()
		k.records[aor] = string(value)
		now := func() time.Time { return time.UnixMilli(0) }
		r := newTest(t, Options{Keeper: k, Now: now, MaxPerUser: limitPerUser})
		if _, err := r.Register(aor, request("another", 1, set("*", 0))); err != nil {
			t.Error(err)
		}
		if r.Len() != 0 || len(k.records) != 0 {
			t.Errorf("%d bindings, %d records", r.Len(), len(k.records))
		}
	})
}
