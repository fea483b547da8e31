package calls

import (
	"bytes"
	"net"
	"testing"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/demo/memnet"
)

// busyConn is the socket of a machine that has other things to do once it has told
// of new keys.
type busyConn struct {
	net.PacketConn
	pause time.Duration
}

func (c busyConn) WriteTo(b []byte, to net.Addr) (int, error) {
	n, err := c.PacketConn.WriteTo(b, to)
	if bytes.HasPrefix(b, []byte("ACK ")) && bytes.Contains(b, []byte("dh-fin")) {
		time.Sleep(c.pause)
	}
	return n, err
}

// On a short way the peer speaks under the new keys before the machine that has sent
// it the last part has gone over to them itself. Nothing of that is lost.
func TestRekeyOnABusyMachine(t *testing.T) {
	t.Parallel()
	o := rekeying(memnet.Options{}, b2bua.Rekey{Every: 5 * time.Second}, b2bua.Rekey{})
	options := o.optionsA
	o.optionsA = func(o *b2bua.Options) {
		options(o)
		for i := range o.Listeners {
			o.Listeners[i].Packet = busyConn{o.Listeners[i].Packet, 70 * time.Millisecond}
		}
	}
	inBubble(t, o, func(t *testing.T, w *world) {
		clear, p, r := w.tapClear(), w.tapNumbers(), w.countRekeyings()
		w.up()
		w.talk(10)
		before, _ := w.views()
		if missing := w.chatter(time.Minute); missing != 0 {
			t.Errorf("%d packets were not heard in %d rekeyings", missing, r.settled().acks)
		}
		va, vb := w.views()
		for _, l := range []b2bua.LegView{va.Legs[1], vb.Legs[0]} {
			if l.DroppedAuth+l.DroppedReplay != 0 {
				t.Errorf("%+v: want none dropped", l)
			}
		}
		if r.settled().acks < 8 {
			t.Errorf("only %d rekeyings", r.settled().acks)
		}
		w.goesOn(before, clear, p)
	})
}
