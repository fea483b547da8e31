package calls

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/sip"
)

// leads are the ways in which bob comes to speak with another phone at house A.
var leads = map[string]func(t *testing.T, w *world, carol *phone){
	"blind": func(t *testing.T, w *world, carol *phone) {
		w.up()
		time.Sleep(time.Second)
		if got := w.alice.refer("<sip:carol@a.example>"); got != "202" {
			t.Fatalf("REFER: %s", got)
		}
		w.alice.await("told SIP/2.0 200")
	},
	"attended, bob was there first": func(t *testing.T, w *world, carol *phone) {
		w.up()
		d := w.alice.second("sip:carol@a.example")
		carol.await("acked")
		if got := w.alice.referOn(d, "sip:carol@a.example"); got != "202" {
			t.Fatalf("REFER: %s", got)
		}
		w.alice.await("told SIP/2.0 200")
	},
	"attended, bob was asked second": func(t *testing.T, w *world, carol *phone) {
		w.alice.call("sip:carol@a.example")
		w.alice.await("answered")
		d := w.alice.second("sip:bob@b.example")
		w.bob.await("acked")
		time.Sleep(time.Second)
		if got := w.alice.referOn(d, "sip:bob@b.example"); got != "202" {
			t.Fatalf("REFER: %s", got)
		}
		w.alice.await("told SIP/2.0 200")
	},
	"taken over": func(t *testing.T, w *world, carol *phone) {
		w.up()
		time.Sleep(time.Second)
		names := make(chan sip.Replaces, 1)
		w.alice.do(func(d *sipDialog) { names <- d.Replaces() })
		r := <-names
		carol.as, carol.fields = "sip:alice@a.example", []sip.Field{{Name: "Replaces", Value: r.String()}}
		carol.call("sip:bob@b.example")
		carol.await("answered")
		w.alice.await("bye")
	},
}

// inLed runs a story in which bob has come to carol, and alice has left.
func inLed(t *testing.T, a, b func(*b2bua.Options), story func(t *testing.T, w *world, carol *phone)) {
	for name, lead := range leads {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := withColleagues(worldOptions{net: memnet.Options{Delay: 5 * time.Millisecond}, optionsA: a, optionsB: b})
			inBubble(t, o, func(t *testing.T, w *world) {
				carol := w.phone("carol", carolPhone, insideA)
				defer carol.close()
				clear := w.tapClear()
				w.alice.refers()
				lead(t, w, carol)
				w.hear(w.bob, carol)
				time.Sleep(5 * time.Second) // alice leaves, or is sent away
				story(t, w, carol)
				if *clear != 0 {
					t.Errorf("%d packets in clear", *clear)
				}
			})
		})
	}
}

// Whoever was led to another party is asked whether he is still there as before,
// and missed when he is not.
func TestSessionsOfLedCalls(t *testing.T) {
	t.Parallel()
	timed := func(o *b2bua.Options) { o.Timers.Session = 90 * time.Second }
	for name, b := range map[string]func(*b2bua.Options){"one house asks": nil, "both ask": timed} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inLed(t, timed, b, func(t *testing.T, w *world, carol *phone) {
				time.Sleep(20 * time.Minute)
				synctest.Wait()
				w.views()
				w.hear(w.bob, carol)
				w.net.TakeAway(outsideB.Addr())
				w.net.TakeAway(insideB.Addr())
				carol.await("bye")
				time.Sleep(10 * time.Minute)
				w.none()
			})
		})
	}
}

// Silence is noticed there too.
func TestSilenceInLedCalls(t *testing.T) {
	t.Parallel()
	inLed(t, func(o *b2bua.Options) { o.Timers.EndAfter = 5 * time.Minute }, nil, func(t *testing.T, w *world, carol *phone) {
		time.Sleep(4 * time.Minute)
		w.views()
		time.Sleep(6 * time.Minute)
		w.none()
		if got := carol.await("bye"); !strings.Contains(got, "Nothing was heard") {
			t.Errorf("BYE with %q", got)
		}
	})
}

// The keys of who was led to another party turn over as they did, by time and by
// the number of packets, of which those before count.
func TestRekeyingOfLedCalls(t *testing.T) {
	t.Parallel()
	t.Run("by time", func(t *testing.T) {
		t.Parallel()
		inLed(t, func(o *b2bua.Options) { o.Rekey.Every = 20 * time.Second }, nil, func(t *testing.T, w *world, carol *phone) {
			before, _ := w.views()
			for range 6 {
				w.hear(w.bob, carol)
				time.Sleep(18 * time.Second)
			}
			after, _ := w.views()
			if n := after.Rekeyings - before.Rekeyings; n < 4 || n > 8 {
				t.Errorf("%d rekeyings in two minutes", n)
			}
		})
	})
	t.Run("by packets", func(t *testing.T) {
		t.Parallel()
		inLed(t, func(o *b2bua.Options) { o.Rekey.Packets = 100 }, nil, func(t *testing.T, w *world, carol *phone) {
			before, _ := w.views()
			for range 10 { // of the 20 packets each before, some were in the call before
				w.hear(w.bob, carol)
				time.Sleep(2 * time.Second)
			}
			after, _ := w.views()
			if n := after.Rekeyings - before.Rekeyings; n < 1 || n > 3 {
				t.Errorf("%d rekeyings in 200 packets", n)
			}
		})
	})
}
