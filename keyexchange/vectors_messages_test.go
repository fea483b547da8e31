package keyexchange

import (
	"errors"
	"reflect"
	"slices"
	"testing"
)

type vectorMessage struct {
	Name, Kind string
	Found      []struct {
		Name, Value, Place string
		Ignored            bool
	}
	Outcome, Taken string
	Sigs           []string
}

var (
	kinds = map[string]MessageKind{
		"other": KindOther, "invite": KindInvite, "invite-no-sdp": KindInviteNoSDP,
		"answer": KindAnswer, "ack": KindAck, "ack-sdp": KindAckSDP,
	}
	places = map[string]Place{
		"other": PlaceOther, "session": PlaceSession, "media": PlaceMedia,
		"fragment": PlaceFragment, "header": PlaceHeader,
	}
)

// attributes gives what stands in the message, and the same without what is
// to be ignored.
func (v vectorMessage) attributes(t testing.TB) (kind MessageKind, all, rest []Found) {
	t.Helper()
	kind, ok := kinds[v.Kind]
	for _, f := range v.Found {
		place, known := places[f.Place]
		ok = ok && known
		all = append(all, Found{f.Name, f.Value, place})
		if !f.Ignored {
			rest = append(rest, all[len(all)-1])
		}
	}
	if !ok {
		t.Fatalf("%s: unknown kind or place", v.Name)
	}
	return kind, all, rest
}

func TestVectorMessages(t *testing.T) {
	t.Parallel()
	for _, v := range load[vectorMessage](t, "messages.json") {
		t.Run(v.Kind+"/"+v.Name, func(t *testing.T) {
			t.Parallel()
			kind, all, rest := v.attributes(t)
			a, err := Read(kind, all)
			switch v.Outcome {
			case "failure":
				checkFailure(t, err)
				if a.Present || a.Value != "" || a.Sigs != nil {
					t.Errorf("taken beside the failure: %+v", a)
				}
				return
			case "ignored":
				if len(rest) == len(all) {
					t.Fatal("nothing is marked as ignored")
				}
				b, err := Read(kind, rest)
				if err != nil || !reflect.DeepEqual(a, b) {
					t.Errorf("without what is ignored: %+v, %v", b, err)
				}
				fallthrough
			case "ok", "absent":
				if err != nil {
					t.Fatalf("it must not fail: %v", err)
				}
				if a.Present != (v.Taken != "") || a.Value != v.Taken || !slices.Equal(a.Sigs, v.Sigs) {
					t.Errorf("taken %+v\nwant  %q and %q", a, v.Taken, v.Sigs)
				}
				if a.Present == (v.Outcome == "absent") {
					t.Errorf("outcome %s, present %t", v.Outcome, a.Present)
				}
			default:
				t.Fatalf("outcome %q is unknown", v.Outcome)
			}
		})
	}
}

type vectorFault struct {
	Name, Role string
	Initiator  vectorInitiator
	Responder  vectorResponder
	Sends      string
	Takes      []struct {
		Attribute, Value string
		Sigs             []string
		Outcome          string
	}
}

func TestVectorFaults(t *testing.T) {
	t.Parallel()
	for _, v := range load[vectorFault](t, "faults.json") {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			var x *Exchange
			var err error
			if v.Role == "initiator" {
				if x, err = NewInitiator(v.Initiator.config(t), nil); err != nil {
					t.Fatal(err)
				}
				if x.Init() != v.Sends {
					t.Fatalf("dh-init\n got %s\nwant %s", x.Init(), v.Sends)
				}
			}
			for i, s := range v.Takes {
				var before Keys
				if s.Outcome == "ignored" {
					if before, err = x.Keys(0); err != nil {
						t.Fatal(err)
					}
				}
				switch s.Attribute {
				case "dh-init":
					group := GroupX25519
					if g, err := parseResp(v.Sends); err == nil {
						group = g.group
					}
					var resp string
					x, resp, err = NewResponder(v.Responder.config(t, group), taken(s.Value), nil)
					if resp != v.Sends {
						t.Fatalf("dh-resp\n got %s\nwant %s", resp, v.Sends)
					}
				case "dh-resp":
					_, err = x.TakeResp(taken(s.Value, s.Sigs...))
				case "dh-fin":
					err = x.TakeFin(taken(s.Value, s.Sigs...))
				default:
					t.Fatalf("attribute %q", s.Attribute)
				}
				switch s.Outcome {
				case "ok":
					if err != nil {
						t.Fatalf("step %d: %v", i, err)
					}
				case "ignored":
					if err != nil {
						t.Fatalf("step %d: %v", i, err)
					}
					if after, err := x.Keys(0); err != nil || !reflect.DeepEqual(before, after) {
						t.Errorf("step %d changed the keys, %v", i, err)
					}
				case "absent":
					if !errors.Is(err, ErrNoCommon) {
						t.Fatalf("step %d: %v", i, err)
					}
				case "failure":
					checkFailure(t, err)
					checkOver(t, x)
				default:
					t.Fatalf("outcome %q is unknown", s.Outcome)
				}
			}
		})
	}
}

func checkFailure(t testing.TB, err error) {
	t.Helper()
	var f *Failure
	if !errors.As(err, &f) {
		t.Fatalf("want a failure, got %v", err)
	}
	if f.Attribute == "" || f.Reason == "" {
		t.Errorf("a failure without a reason: %+v", f)
	}
	if errors.Is(err, ErrNoCommon) {
		t.Error("a failure must not read as a peer without dh-srtp")
	}
}

// checkOver says that nothing is left in an exchange that failed.
func checkOver(t testing.TB, x *Exchange) {
	t.Helper()
	if x == nil {
		return // it failed before it was one
	}
	if k, err := x.Keys(0); err == nil || k.Send.Key != nil || k.Recv.Key != nil {
		t.Error("keys of an exchange that is over")
	}
	if _, ok := x.SAS(); ok {
		t.Error("SAS of an exchange that is over")
	}
	if x.Chain() != nil || x.MaySend() {
		t.Error("an exchange that is over has a chain key or may send")
	}
	if x.z != nil || x.p != nil || x.prk != nil || x.chain != nil || x.offered != nil || x.key != nil || x.kem != nil {
		t.Error("an exchange that is over keeps secrets")
	}
	if x.c != [chainLen]byte{} || x.sas != [sasLen]byte{} {
		t.Error("an exchange that is over keeps its chain key or SAS")
	}
}
