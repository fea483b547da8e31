package memnet_test

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"

	"github.com/sipward/sipward/demo/memnet"
)

// What serves a UDP socket serves one of these: sipgo's transport layer and
// transactions, with the answer lost once and the request sent again.
func TestSipgoServesIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New(memnet.Options{Delay: 10 * time.Millisecond})
		defer network.Close()
		served, err := network.ListenPacket(netip.MustParseAddrPort("192.0.2.1:5060"))
		if err != nil {
			t.Fatal(err)
		}
		phone, err := network.ListenPacket(netip.MustParseAddrPort("192.0.2.2:5062"))
		if err != nil {
			t.Fatal(err)
		}

		quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
		ua, err := sipgo.NewUA(sipgo.WithUserAgentTransportLayerOptions(sip.WithTransportLayerLogger(quiet)))
		if err != nil {
			t.Fatal(err)
		}
		server, err := sipgo.NewServer(ua, sipgo.WithServerLogger(quiet))
		if err != nil {
			t.Fatal(err)
		}
		handled := 0
		server.OnOptions(func(req *sip.Request, tx sip.ServerTransaction) {
			handled++
			if err := tx.Respond(sip.NewResponseFromRequest(req, 200, "OK", nil)); err != nil {
				t.Errorf("Respond: %v", err)
			}
		})
		ended := make(chan error, 1)
		go func() { ended <- ua.TransportLayer().ServeUDP(served) }()

		network.SetRule(memnet.DropFirst(1, func(_, _ netip.AddrPort, b []byte) bool {
			return bytes.HasPrefix(b, []byte("SIP/2.0 200"))
		}))
		options := []byte("OPTIONS sip:bob@192.0.2.1 SIP/2.0\r\n" +
			"Via: SIP/2.0/UDP 192.0.2.2:5062;branch=z9hG4bKmemnet1;rport\r\n" +
			"Max-Forwards: 70\r\n" +
			"From: <sip:alice@192.0.2.2>;tag=1\r\n" +
			"To: <sip:bob@192.0.2.1>\r\n" +
			"Call-ID: memnet\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n")
		start := time.Now()
		answer := make([]byte, 1500)
		size, tries := 0, 0
		for tries = 1; tries <= 3; tries++ {
			if _, err := phone.WriteTo(options, served.LocalAddr()); err != nil {
				t.Fatal(err)
			}
			if err := phone.SetReadDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			var from net.Addr
			if size, from, err = phone.ReadFrom(answer); err == nil {
				if from.String() != "192.0.2.1:5060" {
					t.Errorf("answered from %v", from)
				}
				break
			}
		}
		if !bytes.HasPrefix(answer[:size], []byte("SIP/2.0 200 OK\r\n")) {
			t.Errorf("answer %q", answer[:size])
		}
		if took := time.Since(start); tries != 2 || took != 520*time.Millisecond {
			t.Errorf("answered at try %d after %v, want the second after 520ms", tries, took)
		}
		if handled != 1 {
			t.Errorf("the handler ran %d times; the transaction should answer again by itself", handled)
		}

		if err := served.Close(); err != nil {
			t.Fatal(err)
		}
		<-ended
		if err := ua.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}
