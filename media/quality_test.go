package media

import (
	"testing"
	"time"

	"github.com/pion/rtcp"
)

func TestQualityJitter(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.session.SetMode(A, Plain)
	r.session.SetMode(B, Plain)
	if _, ok := r.session.Quality(); ok {
		t.Error("measured without Measure")
	}
	r.session.Measure(map[uint8]uint32{0: 8000})
	steady := func(n int, every time.Duration, from uint16) {
		for i := range n {
			r.phone(voice(1, from+uint16(i)))
			r.now += every
		}
	}
	jitter := func() time.Duration {
		q, ok := r.session.Quality()
		if !ok || q[B].Jitter != 0 {
			t.Errorf("measured %v, jitter of the far end %v", ok, q[B].Jitter)
		}
		return q[A].Jitter
	}
	r.now = time.Hour
	steady(100, 20*time.Millisecond, 0)
	if j := jitter(); j != 0 {
		t.Errorf("jitter %v of an even stream", j)
	}
	// Late by 8 ms and early again in turn: the mean deviation is 8 ms.
	for i := range uint16(400) {
		late := time.Duration(i%2) * 8 * time.Millisecond
		r.now += late
		r.phone(voice(1, 100+i))
		r.now += 20*time.Millisecond - late
	}
	if j := jitter(); j < 7500*time.Microsecond || j > 8500*time.Microsecond {
		t.Errorf("jitter %v, want 8 ms", j)
	}
	// A pause, a restart with another SSRC, and a payload type without a rate.
	r.now += 5 * time.Second
	before := jitter()
	r.phone(voice(1, 500))
	r.phone(voiceType(101, 1, 501))
	if j := jitter(); j != before {
		t.Errorf("jitter %v after a pause, before %v", j, before)
	}
	for i := range uint16(10) {
		r.phone(voice(2, 60000+i))
		r.now += 20 * time.Millisecond
	}
	if j := jitter(); j != 0 {
		t.Errorf("jitter %v of another stream", j)
	}
}

func TestQualityRoundTrip(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.session.SetMode(A, Plain)
	keys := r.protect(gcm256, ProtectOptions{})
	r.session.Measure(map[uint8]uint32{0: 8000})
	r.now = time.Minute
	r.phone(voice(1, 1))
	own := ssrcOf(keys.open(r.one().pkt))
	const ntp = 0x1111222233334444
	report := rtcp.SenderReport{SSRC: 1, NTPTime: ntp}
	raw, err := report.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	r.phoneRTCP(raw)
	r.one()
	answer := func(middle uint32, delay time.Duration) {
		rr := rtcp.ReceiverReport{SSRC: 2, Reports: []rtcp.ReceptionReport{{
			SSRC: own, FractionLost: 64, TotalLost: 12, Jitter: 80,
			LastSenderReport: middle, Delay: uint32(delay * 65536 / time.Second),
		}}}
		raw, err := rr.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		r.farRTCP(keys.sealRTCP(raw))
		r.one()
	}
	r.now += 750 * time.Millisecond
	answer(0x22223333, 500*time.Millisecond)
	q, _ := r.session.Quality()
	if q[B].RoundTrip != 250*time.Millisecond || q[A].RoundTrip != 0 {
		t.Errorf("round trips %v and %v, want 250 ms of the far end", q[B].RoundTrip, q[A].RoundTrip)
	}
	want := Heard{Valid: true, Loss: 0.25, Lost: 12, Jitter: 10 * time.Millisecond}
	if q[B].Heard != want || q[A].Heard.Valid {
		t.Errorf("heard %+v and %+v, want %+v", q[B].Heard, q[A].Heard, want)
	}
	answer(0x99999999, 0) // about a report that never passed
	answer(0, 0)          // about none
	if q, _ := r.session.Quality(); q[B].RoundTrip != 250*time.Millisecond {
		t.Errorf("round trip %v of a report that was not sent", q[B].RoundTrip)
	}
	answer(0x22223333, time.Hour)
	if q, _ := r.session.Quality(); q[B].RoundTrip != 1 {
		t.Errorf("round trip %v with a delay that cannot be", q[B].RoundTrip)
	}
}

// Report blocks are where another implementation finds them.
func FuzzReports(f *testing.F) {
	f.Add(receiverReport(1, 2, 3))
	f.Add(senderReport(1))
	f.Add(append(senderReport(1), receiverReport(1, 2, 3)...))
	f.Add(receiverReport(1, 2, 3)[:20])
	f.Fuzz(func(t *testing.T, pkt []byte) {
		blocks, ntp := 0, []uint32(nil)
		eachReport(pkt, func(kind byte, body []byte, count int) {
			blocks += count
			if kind == rtcpSR {
				ntp = append(ntp, uint32(body[6])<<24|uint32(body[7])<<16|uint32(body[8])<<8|uint32(body[9]))
			}
		})
		q := quality{}
		q.senderReports(pkt, 1)
		q.reports(pkt, 2)
		if q.heard.Valid != (blocks > 0) {
			t.Errorf("%d blocks, valid %v", blocks, q.heard.Valid)
		}
		packets, err := rtcp.Unmarshal(pkt)
		if err != nil {
			return
		}
		want, wantNTP := 0, []uint32(nil)
		for _, p := range packets {
			switch p := p.(type) {
			case *rtcp.SenderReport:
				want += len(p.Reports)
				wantNTP = append(wantNTP, uint32(p.NTPTime>>16))
			case *rtcp.ReceiverReport:
				want += len(p.Reports)
			}
		}
		if blocks != want || len(ntp) != len(wantNTP) {
			t.Fatalf("%d blocks and %d sender reports, want %d and %d", blocks, len(ntp), want, len(wantNTP))
		}
		for i := range ntp {
			if ntp[i] != wantNTP[i] {
				t.Errorf("NTP %x, want %x", ntp[i], wantNTP[i])
			}
		}
	})
}
