package demo

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/sipward/sipward/demo/memnet"
)

func TestRunAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		memory := memnet.New(memnet.Options{Seed: 9, Delay: oneWay})
		defer memory.Close()
		var progress []string
		r, err := runAlone(t.Context(), Options{Progress: func(s string) { progress = append(progress, s) }}, memory, alonePlaces())
		if err != nil {
			t.Fatal(err)
		}
		if !r.OK || len(r.Calls) != len(TestAddresses()) || len(progress) != 2*len(r.Calls) {
			t.Errorf("%+v, %q", r, progress)
		}
		var b strings.Builder
		if err := r.Write(&b); err != nil {
			t.Fatal(err)
		}
		for _, c := range r.Calls {
			if c.Trust != trustEncrypted || !c.OK || c.SASCode == "" || !strings.Contains(b.String(), "encrypted ("+c.Group+", "+c.Suite+"), code "+c.SASCode+"\n") {
				t.Errorf("%+v in\n%s", c, b.String())
			}
		}
		if c := r.Calls[1]; !strings.Contains(b.String(), "the far end said "+c.SASCode+", twice\n") || strings.Contains(b.String(), "NOT") {
			t.Errorf("%+v in\n%s", c, b.String())
		}
	})
}

func alonePlaces() places {
	addr := netip.MustParseAddr
	return places{alice: addr("10.1.0.2"), aInside: addr("10.1.0.1"), aOutside: addr("192.0.2.1"), bOutside: addr("192.0.2.2"), bInside: addr("10.2.0.1")}
}

func TestRunAloneIsInterrupted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		memory := memnet.New(memnet.Options{})
		defer memory.Close()
		ctx, cancel := context.WithCancel(t.Context())
		_, err := runAlone(ctx, Options{Progress: func(string) { cancel() }}, memory, alonePlaces())
		if err == nil || ctx.Err() == nil {
			t.Errorf("%v", err)
		}
	})
}
