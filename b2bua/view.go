package b2bua

import "time"

// View is what people and programs see of a call: a copy, taken at one moment,
// that holds no secret. Its JSON form is the HTTP API's.
type View struct {
	ID         string    `json:"id"`                  // opaque, unique within this process
	From       string    `json:"from"`                // sip:user@host of the caller, as the A leg names it
	To         string    `json:"to"`                  // sip:user@host of who is called
	Direction  string    `json:"direction"`           // outbound (inside to outside), inbound, internal
	State      string    `json:"state"`               // see State
	Protection string    `json:"protection"`          // none, negotiating, srtp, passed-through (between others), failed
	Group      string    `json:"group"`               // Diffie-Hellman group, "" without an exchange
	Suite      string    `json:"suite"`               // SRTP protection profile, "" without an exchange
	SASWords   string    `json:"sas_words"`           // three PGP words, once the exchange is confirmed
	SASCode    string    `json:"sas_code"`            // six digits "123 456", once the exchange is confirmed
	Rekeyings  int       `json:"rekeyings"`           // how often the keys have been replaced since
	Trust      string    `json:"trust"`               // none, encrypted, pinned, verified, mismatch
	Says       string    `json:"says"`                // what is known of who is at the other end, as a sentence
	Identity   string    `json:"identity"`            // whom a signature proved to be there, "" for nobody
	Key        string    `json:"key"`                 // the public key that did, as the attribute has it
	KeyType    string    `json:"key_type"`            // ed25519 or openpgp
	Downgrade  bool      `json:"downgrade"`           // this peer gave more before: encryption, or a signature
	KeyChanged bool      `json:"key_changed"`         // another key than before
	Reason     string    `json:"reason"`              // why this protection, in words
	Started    time.Time `json:"started"`             // when the INVITE came
	Legs       []LegView `json:"legs"`                // the A leg, then the B leg
	Continues  string    `json:"continues,omitempty"` // the call that a transfer has ended for this one
}

// LegView is one side of a call. Counters are packets and octets of RTP and
// RTCP since the leg's media began.
type LegView struct {
	Side          string   `json:"side"`  // inside or outside
	Peer          string   `json:"peer"`  // signalling address ip:port of the other end
	Media         string   `json:"media"` // own media address ip:port of the first m-line
	Keys          KeyState `json:"keys"`  // of the exchange on this leg, see KeyState
	SDES          string   `json:"sdes"`  // suite of the SRTP between phone and sipward under keys in SDP (RFC 4568), "" for none
	PacketsIn     uint64   `json:"packets_in"`
	PacketsOut    uint64   `json:"packets_out"`
	Lost          uint64   `json:"lost"`
	DroppedAuth   uint64   `json:"dropped_auth"`
	DroppedReplay uint64   `json:"dropped_replay"`
	DroppedSource uint64   `json:"dropped_source"`
	Bytes         uint64   `json:"bytes"`
}

// Event says that a call changed. Type is one of call-started, call-changed,
// call-ended.
type Event struct {
	Type string    `json:"type"`
	Time time.Time `json:"time"`
	Call View      `json:"call"`
}
