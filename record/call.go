package record

import "time"

// Call is what is kept of a call. Times are those of this machine's clock.
type Call struct {
	ID         string    `json:"id"`        // as in the API and the log
	From       string    `json:"from"`      // address of record of the caller
	To         string    `json:"to"`        // of who was called
	Direction  string    `json:"direction"` // outbound (inside to outside), inbound, internal
	Started    time.Time `json:"started"`
	Answered   time.Time `json:"answered,omitzero"` // missing: it never was
	Ended      time.Time `json:"ended"`
	Protection string    `json:"protection"` // none, srtp, passed-through, failed
	Group      string    `json:"group,omitempty"`
	Suite      string    `json:"suite,omitempty"`
	Trust      string    `json:"trust"`              // none, encrypted, pinned, verified, mismatch
	Identity   string    `json:"identity,omitempty"` // whom the other end's signature proved to be
	Key        string    `json:"key,omitempty"`      // the public key that proved it
	Rule       string    `json:"rule"`               // of the policy
	Reason     string    `json:"reason"`             // why the call was what it was, or ended, as a sentence
	Emergency  bool      `json:"emergency,omitempty"`
	Continues  string    `json:"continues,omitempty"` // the call that a transfer has ended for this one
	Legs       []Leg     `json:"legs"`
}

// Leg is one side of a call, with packets of RTP and RTCP.
type Leg struct {
	Side       string `json:"side"` // inside or outside
	Peer       string `json:"peer"` // signalling address ip:port
	PacketsIn  uint64 `json:"packets_in"`
	PacketsOut uint64 `json:"packets_out"`
	Lost       uint64 `json:"lost"`
	Dropped    uint64 `json:"dropped"` // not authenticated, repeated, or from a stranger
}

// line is what stands in the file.
type line struct {
	Seq     uint64    `json:"seq"`
	Prev    string    `json:"prev"`
	Time    time.Time `json:"time"`
	Call    *Call     `json:"call,omitempty"`
	Missing uint64    `json:"missing,omitempty"` // so many calls could not be written
}
