package keyexchange

import "errors"

// MessageKind says which message the attributes stand in, and so which one of
// them is the message's own and where it has to stand (protocol §2, "Where").
type MessageKind int

// The kinds of message. The zero kind has no attribute of its own.
const (
	KindOther       MessageKind = iota // any other message: nothing in it is read
	KindInvite                         // INVITE with SDP: dh-init at its session level
	KindInviteNoSDP                    // INVITE without SDP: dh-init in the header field DH-Init
	KindAnswer                         // 2xx or reliable 1xx of an INVITE: dh-resp at its session level
	KindAck                            // ACK or PRACK without SDP: dh-fin in its application/dh-sdpfrag body
	KindAckSDP                         // ACK or PRACK with SDP (the offer was in the 2xx): dh-fin at its session level
)

// Place says where in a message an attribute stands.
type Place int

// The places. What stands where it does not belong counts as a repetition but
// is not taken; the zero place belongs to no message.
const (
	PlaceOther    Place = iota // a second body, or wherever else
	PlaceSession               // session level of the message's SDP
	PlaceMedia                 // behind an m= line of that SDP
	PlaceFragment              // an application/dh-sdpfrag body
	PlaceHeader                // the header field DH-Init
)

// Found is one dh-* attribute as it stands in a message. Name is without
// "a=", in lower case as on the wire ("dh-init" also for the header field).
// Value is the octets after the first colon without the line's end, for the
// header field without the white space around it; an attribute without a colon
// has an empty one.
type Found struct {
	Name, Value string
	Place       Place
}

// Attrs is what Read took from a message.
type Attrs struct {
	// Value of the message's own dh-init, dh-resp or dh-fin, octet for octet.
	Value string
	// Present says that there was one. Without it the message is one of a peer
	// without dh-srtp.
	Present bool
	// Sigs are the values of the dh-sig attributes beside it, at most four, in
	// the order in which they stood. They are well formed but not checked.
	Sigs []string
}

// maxSigs is how many dh-sig may stand beside a dh-resp or dh-fin.
const maxSigs = 4

// tooMany says whether a message has more dh-sig than it may.
func tooMany(sigs int) bool { return sigs > maxSigs }

// home is where a kind of message has its attribute, and whether signatures
// may stand beside it.
func (k MessageKind) home() (name string, place Place, signed bool) {
	switch k {
	case KindInvite:
		return "dh-init", PlaceSession, false
	case KindInviteNoSDP:
		return "dh-init", PlaceHeader, false
	case KindAnswer:
		return "dh-resp", PlaceSession, true
	case KindAck:
		return "dh-fin", PlaceFragment, true
	case KindAckSDP:
		return "dh-fin", PlaceSession, true
	}
	return "", PlaceOther, false
}

// Read judges the dh-* attributes of one message (protocol §2, "Form"); found
// holds all of them, wherever they stand. Attributes that are unknown or
// belong to other messages are ignored, those of another version are absent.
// The message's own attribute is taken if it stands in its place and is well
// formed; a second one anywhere in the message, a wrong form and a fifth
// dh-sig are a *Failure, the only error that Read returns. Signatures without
// an attribute beside which they could stand are ignored.
//
// Read keeps no more than a reference to the values, and works in time
// proportional to their length.
func Read(kind MessageKind, found []Found) (Attrs, error) {
	own, place, signed := kind.home()
	if own == "" {
		return Attrs{}, nil
	}
	var a Attrs
	count := 0
	for _, f := range found {
		if f.Name != own {
			continue
		}
		// A wrong form in a wrong place still counts: only what is clearly of
		// another version does not.
		if _, err := version(own, f.Value); errors.Is(err, errOtherVersion) {
			continue
		}
		if count++; count > 1 {
			return Attrs{}, failure(own, "it stands in the message more than once")
		}
		if f.Place == place {
			a.Value, a.Present = f.Value, true
		}
	}
	if !a.Present {
		return Attrs{}, nil
	}
	if err := checkForm(own, a.Value); err != nil {
		return Attrs{}, err
	}
	if !signed {
		return a, nil
	}
	count = 0
	for _, f := range found {
		if f.Name != "dh-sig" {
			continue
		}
		if count++; tooMany(count) {
			return Attrs{}, failure("dh-sig", "there are more than four signatures")
		}
		if f.Place == place {
			a.Sigs = append(a.Sigs, f.Value)
		}
	}
	if err := checkSigs(a.Sigs); err != nil {
		return Attrs{}, err
	}
	return a, nil
}

func checkForm(name, value string) (err error) {
	switch name {
	case "dh-init":
		_, err = parseInit(value)
	case "dh-resp":
		_, err = parseResp(value)
	case "dh-fin":
		_, err = parseFin(value)
	}
	return err
}

// checkSigs holds the values of dh-sig attributes to their number and form.
func checkSigs(values []string) error {
	if tooMany(len(values)) {
		return failure("dh-sig", "there are more than four signatures")
	}
	for _, v := range values {
		if _, err := parseSig(v); err != nil {
			return err
		}
	}
	return nil
}
