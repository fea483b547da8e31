package keyexchange

import (
	"errors"
	"testing"
	"time"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func at(d time.Duration) time.Time { return epoch.Add(d) }

const ms = time.Millisecond

func TestMaySend(t *testing.T) {
	t.Parallel()
	for _, v := range []struct {
		group             string
		responderMaySends bool // before it is confirmed
	}{{GroupX25519, true}, {GroupX25519MLKEM768, false}} {
		e := agreeing(t, configOf(v.group), nil)
		e.initiator.Started(at(0))
		e.responder.Started(at(0))
		if !e.initiator.MaySend() {
			t.Errorf("%s: the initiator may not send", v.group)
		}
		if e.responder.MaySend() != v.responderMaySends {
			t.Errorf("%s: the responder may send: %t", v.group, !v.responderMaySends)
		}
		e.responder.Confirmed(at(1))
		if !e.responder.MaySend() || !e.responder.IsConfirmed() || e.initiator.IsConfirmed() {
			t.Errorf("%s: the responder is confirmed and may not send, or the initiator is", v.group)
		}
	}
}

func TestProbesEvery100msUntilFailure(t *testing.T) {
	t.Parallel()
	e := agreeing(t, configOf(GroupX25519), nil)
	x := e.initiator
	if probe, failed, next := x.Tick(at(0)); probe || failed || !next.IsZero() {
		t.Error("something is due before dh-fin")
	}
	x.Started(at(0))
	x.Started(at(time.Hour)) // does nothing
	now, probes := at(0), 0
	for {
		probe, failed, next := x.Tick(now)
		if failed {
			if !next.IsZero() || probe {
				t.Error("something is due after the failure")
			}
			break
		}
		if !probe {
			t.Fatalf("no probe at %v", now.Sub(epoch))
		}
		if again, _, same := x.Tick(now); again || same != next {
			t.Fatalf("two probes at %v, next %v", now.Sub(epoch), same.Sub(epoch))
		}
		if early, _, same := x.Tick(next.Add(-1)); early || same != next {
			t.Fatalf("a probe before %v", next.Sub(epoch))
		}
		probes++
		if next != at(time.Duration(probes)*100*ms) {
			t.Fatalf("the probe after %d is due at %v", probes, next.Sub(epoch))
		}
		now = next
	}
	if probes != 50 || now != at(5*time.Second) {
		t.Errorf("%d probes, failed at %v", probes, now.Sub(epoch))
	}
	checkOver(t, x)
	if _, err := x.Keys(0); !errors.Is(err, ErrUnconfirmed) {
		t.Errorf("keys after the failure: %v", err)
	}
	if _, failed, _ := x.Tick(now); !failed {
		t.Error("the failure is forgotten")
	}
	x.Confirmed(now)
	if x.IsConfirmed() {
		t.Error("confirmed after the failure")
	}
}

func TestLateTickGivesOneProbe(t *testing.T) {
	t.Parallel()
	x := agreeing(t, configOf(GroupX25519), nil).responder
	x.Started(at(0))
	x.Tick(at(0))
	if probe, _, next := x.Tick(at(1234 * ms)); !probe || next != at(1300*ms) {
		t.Errorf("probe %t, next at %v", probe, next.Sub(epoch))
	}
	if probe, _, next := x.Tick(at(1235 * ms)); probe || next != at(1300*ms) {
		t.Errorf("probe %t, next at %v", probe, next.Sub(epoch))
	}
	if probe, failed, next := x.Tick(at(-time.Hour)); probe || failed || next.Before(at(-time.Hour)) {
		t.Error("a clock that goes back brings something")
	}
}

func TestConfirmedEndsProbes(t *testing.T) {
	t.Parallel()
	x := agreeing(t, configOf(GroupX25519), nil).initiator
	x.Started(at(0))
	x.Tick(at(0))
	x.Confirmed(at(4999 * ms))
	if !x.IsConfirmed() {
		t.Fatal("not confirmed")
	}
	for _, d := range []time.Duration{5 * time.Second, time.Hour} {
		if probe, failed, next := x.Tick(at(d)); probe || failed || !next.IsZero() {
			t.Errorf("something is due at %v", d)
		}
	}
	if _, err := x.Keys(0); err != nil {
		t.Error(err)
	}
	x.Erase()
	if !x.IsConfirmed() {
		t.Error("erasing takes the confirmation back")
	}
}

// The end that is confirmed first goes on for a second: the other one may be
// waiting for nothing but its probes, and have lost them so far.
func TestProbesGoOnForASecondBehindTheConfirmation(t *testing.T) {
	t.Parallel()
	x := agreeing(t, configOf(GroupX25519), nil).initiator
	x.Started(at(0))
	x.Tick(at(0))
	x.Confirmed(at(150 * ms))
	probes := 0
	for now := 150 * ms; now < 10*time.Second; now += 10 * ms {
		probe, failed, next := x.Tick(at(now))
		if failed {
			t.Fatalf("failed at %v", now)
		}
		if probe {
			probes++
			if now >= 1150*ms {
				t.Errorf("probe at %v", now)
			}
		}
		if next.IsZero() != (now >= 1150*ms) {
			t.Errorf("at %v next is %v", now, next)
		}
	}
	if probes != 11 { // the one that was due at 100 ms, and ten
		t.Errorf("%d probes behind the confirmation, want 11", probes)
	}
}

func TestConfirmedTooLateFails(t *testing.T) {
	t.Parallel()
	x := agreeing(t, configOf(GroupX25519), nil).initiator
	x.Started(at(0))
	x.Confirmed(at(5 * time.Second))
	if x.IsConfirmed() {
		t.Error("confirmed")
	}
	checkOver(t, x)
	if _, failed, _ := x.Tick(at(5 * time.Second)); !failed {
		t.Error("not failed")
	}
}

func TestConfirmedWithoutKeysIsNothing(t *testing.T) {
	t.Parallel()
	e := begin(t, configOf(GroupX25519), nil)
	e.initiator.Started(at(0))
	e.initiator.Confirmed(at(0))
	e.responder.Confirmed(at(0))
	if e.initiator.IsConfirmed() || e.responder.IsConfirmed() {
		t.Error("confirmed without keys")
	}
	e.complete(t, nil, nil, nil, nil)
	e.initiator.Started(at(time.Hour))
	if _, failed, next := e.initiator.Tick(at(time.Hour)); failed || next != at(time.Hour+100*ms) {
		t.Error("the time before the keys counts")
	}
}

func TestHoldStopsTheClock(t *testing.T) {
	t.Parallel()
	x := agreeing(t, configOf(GroupX25519MLKEM768), nil).responder
	x.Started(at(0))
	x.Tick(at(0))
	x.Tick(at(100 * ms))
	x.Held(at(150*ms), true)
	x.Held(at(170*ms), true) // twice is once
	for _, d := range []time.Duration{200 * ms, 10 * time.Second, time.Hour} {
		if probe, failed, next := x.Tick(at(d)); probe || failed || !next.IsZero() {
			t.Fatalf("held, and something is due at %v", d)
		}
	}
	x.Held(at(time.Hour), false)
	if probe, failed, next := x.Tick(at(time.Hour)); probe || failed || next != at(time.Hour+50*ms) {
		t.Fatalf("probe %t, failed %t, next %v after the hold", probe, failed, next.Sub(epoch))
	}
	if _, failed, _ := x.Tick(at(time.Hour + 4849*ms)); failed {
		t.Error("the hold counts")
	}
	if _, failed, _ := x.Tick(at(time.Hour + 4850*ms)); !failed {
		t.Error("the time before the hold does not count")
	}

	// A hold that was there before dh-fin.
	x = agreeing(t, configOf(GroupX25519), nil).initiator
	x.Held(at(0), true)
	x.Started(at(time.Second))
	if probe, failed, next := x.Tick(at(time.Hour)); probe || failed || !next.IsZero() {
		t.Error("held from the start, and something is due")
	}
	x.Held(at(2*time.Hour), false)
	if probe, failed, _ := x.Tick(at(2 * time.Hour)); !probe || failed {
		t.Error("no probe after a hold from the start")
	}
	// A packet that comes while the other end holds confirms as any other.
	x.Held(at(2*time.Hour+ms), true)
	x.Confirmed(at(3 * time.Hour))
	if !x.IsConfirmed() {
		t.Error("not confirmed in a hold")
	}
}
