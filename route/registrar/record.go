package registrar

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"
	"unicode/utf8"
)

// record is what the keeper holds for an address of record, as JSON. The address
// is its key.
type record struct {
	Bindings []recordBinding `json:"bindings"`
}

type recordBinding struct {
	Contact  string         `json:"contact"`
	Network  string         `json:"network"`
	Listener string         `json:"listener"`
	Remote   netip.AddrPort `json:"remote"`
	CallID   string         `json:"callId"`
	CSeq     uint32         `json:"cseq"`
	Updated  int64          `json:"updated"` // milliseconds since 1970
	Expires  int64          `json:"expires"` // the same
	Q        int            `json:"q"`       // thousandths
}

func encode(bindings []Binding) []byte {
	var rec record
	for _, b := range bindings {
		rec.Bindings = append(rec.Bindings, recordBinding{
			Contact: b.Contact, Network: b.Source.Network, Listener: b.Source.Listener, Remote: b.Source.Remote,
			CallID: b.CallID, CSeq: b.CSeq, Updated: b.Updated.UnixMilli(), Expires: b.Expires.UnixMilli(), Q: b.Q,
		})
	}
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(rec); err != nil {
		panic(fmt.Sprintf("registrar: %v", err)) // strings and numbers do not fail
	}
	return buf.Bytes()
}

// maxMilli is the year 9999: times beyond it do not come back as they were.
const maxMilli = 253402300799999

// decode reads a record and refuses one that [Registrar.Register] could not have
// written. Fields of a newer sipward are passed over.
func decode(aor string, value []byte) ([]Binding, error) {
	if key, err := Canonical(aor); err != nil || key != aor {
		return nil, errors.New("its key is not an address of record")
	}
	d := json.NewDecoder(bytes.NewReader(value))
	var rec record
	if err := d.Decode(&rec); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("more than one record")
	}
	if len(rec.Bindings) == 0 || len(rec.Bindings) > limitPerUser {
		return nil, fmt.Errorf("%d bindings", len(rec.Bindings))
	}
	bindings := make([]Binding, len(rec.Bindings))
	for i, b := range rec.Bindings {
		if _, err := parseContact(b.Contact); err != nil {
			return nil, err
		}
		s := Source{Network: b.Network, Listener: b.Listener, Remote: b.Remote}
		if b.CallID == "" || len(b.CallID) > maxCallID || !s.bounded() || b.Q < 0 || b.Q > 1000 ||
			b.Updated < 0 || b.Updated > maxMilli || b.Expires < 0 || b.Expires > maxMilli {
			return nil, fmt.Errorf("binding %d is outside of the bounds", i)
		}
		bindings[i] = Binding{
			AOR: aor, Contact: b.Contact, Source: s, CallID: b.CallID, CSeq: b.CSeq,
			Updated: time.UnixMilli(b.Updated), Expires: time.UnixMilli(b.Expires), Q: b.Q,
		}
	}
	return bindings, nil
}

// bounded tells whether the names in a source are of a length and of octets that
// a record takes.
func (s Source) bounded() bool {
	for _, name := range []string{s.Network, s.Listener, s.Remote.Addr().Zone()} {
		if len(name) > maxName || !utf8.ValidString(name) {
			return false
		}
	}
	return true
}
