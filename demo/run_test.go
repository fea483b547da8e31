package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/sipward/sipward/demo/audio"
)

// loopbackOnly are places on a machine that has 127.0.0.1 alone.
func loopbackOnly() places {
	one := netip.MustParseAddr("127.0.0.1")
	return places{one, one, one, one, one, one, one, one}
}

func TestRun(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		o     Options
		at    places
		group string
	}{
		{"udp", Options{}, loopbacks(), "x25519"},
		{"tcp", Options{Transport: "tcp"}, loopbacks(), "x25519mlkem768"},
		{"udp man in the middle", Options{Mitm: true}, loopbacks(), "x25519"},
		{"tcp man in the middle", Options{Transport: "tcp", Mitm: true}, loopbacks(), "x25519mlkem768"},
		{"one address", Options{Transport: "udp"}, loopbackOnly(), "x25519"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			c.o.Dir, c.o.PCAP = filepath.Join(dir, "sound"), filepath.Join(dir, "wire.pcap")
			var said []string
			c.o.Progress = func(s string) { said = append(said, s) }
			r, err := run(t.Context(), c.o, c.at)
			if err != nil {
				t.Fatal(err)
			}
			if !r.OK || len(r.Faults) > 0 {
				t.Errorf("not as it should be: %q", r.Faults)
			}
			if r.SASEqual == c.o.Mitm || r.SASEqual != (r.SASA == r.SASB) || len(strings.Fields(r.SASA)) != 5 || len(strings.Fields(r.SASB)) != 5 {
				t.Errorf("strings %q and %q, equal %v", r.SASA, r.SASB, r.SASEqual)
			}
			if r.SASA != r.SASWordsA+" "+r.SASCodeA || r.SASB != r.SASWordsB+" "+r.SASCodeB {
				t.Errorf("%+v", r)
			}
			if r.Group != c.group || r.Suite != "AEAD_AES_256_GCM" || r.TrustA != "encrypted" || r.TrustB != "encrypted" {
				t.Errorf("%s, %s, trust %s and %s", r.Group, r.Suite, r.TrustA, r.TrustB)
			}
			said2 := len(frames(audio.Alice())) + len(frames(audio.Bob()))
			if r.PacketsSent != said2 || r.PacketsHeard != said2 || r.TapPackets != said2 || r.TapPlain != 0 {
				t.Errorf("sent %d, heard %d, tapped %d, plain %d of %d", r.PacketsSent, r.PacketsHeard, r.TapPackets, r.TapPlain, said2)
			}
			if r.AudioMatch < 0.999 || r.Seconds <= 0 { // .ci/run says how long it may take, by itself
				t.Errorf("match %v in %v s", r.AudioMatch, r.Seconds)
			}
			if r.InviteAdded < 100 || r.InviteAdded > 256 || r.AnswerAdded == 0 || r.AckAdded == 0 {
				t.Errorf("added %d, %d, %d", r.InviteAdded, r.AnswerAdded, r.AckAdded)
			}
			if c.group == "x25519" && (r.AnswerAdded > 160 || r.AckAdded > 160) {
				t.Errorf("added %d, %d", r.AnswerAdded, r.AckAdded)
			}
			if (r.AttributesA == r.AttributesB) == c.o.Mitm {
				t.Errorf("%+v and %+v", r.AttributesA, r.AttributesB)
			}
			checkSounds(t, r)
			checkCapture(t, r)
			checkReport(t, r)
			if len(said) < 5 {
				t.Errorf("progress: %q", said)
			}
		})
	}
}

func checkSounds(t *testing.T, r *Result) {
	t.Helper()
	read := func(path string) []int16 {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		pcm, err := audio.ReadWAV(f)
		if err != nil {
			t.Fatal(err)
		}
		return pcm
	}
	if !slices.Equal(read(r.Files.Alice), overLine(audio.Bob())) || !slices.Equal(read(r.Files.Bob), overLine(audio.Alice())) {
		t.Error("the files are not what was played")
	}
	tap := read(r.Files.Wiretap)
	for _, pcm := range [][]int16{audio.Alice(), audio.Bob()} {
		if score, _ := audio.Correlate(tap, pcm); score > 0.3 {
			t.Errorf("the wiretap matches by %v", score)
		}
	}
	if r.Mitm != (r.Files.Mitm != "") {
		t.Errorf("%+v", r.Files)
	}
	if r.Mitm {
		if score, _ := audio.Correlate(read(r.Files.Mitm), audio.Alice()); score < 0.4 {
			t.Errorf("the man in the middle heard alice by %v", score)
		}
	}
}

// checkCapture reads the capture with another reader: the whole call is in it.
func checkCapture(t *testing.T, r *Result) {
	t.Helper()
	f, err := os.Open(r.Files.PCAP)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	file, err := pcapgo.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var signalling bytes.Buffer
	rtp := 0
	for p := range gopacket.NewPacketSource(file, file.LinkType()).Packets() {
		if udp, ok := p.Layer(layers.LayerTypeUDP).(*layers.UDP); ok && isRTP(udp.Payload) {
			rtp++
			continue
		}
		if app := p.ApplicationLayer(); app != nil {
			signalling.Write(app.Payload())
		}
	}
	if rtp != r.PacketsSent {
		t.Errorf("%d RTP packets in the capture, %d sent", rtp, r.PacketsSent)
	}
	for _, want := range []string{"INVITE sip:bob@b.example SIP/2.0", "a=dh-init:" + r.AttributesA.Init, "a=dh-resp:" + r.AttributesA.Resp, "a=dh-fin:" + r.AttributesA.Fin, "BYE sip:"} {
		if !strings.Contains(signalling.String(), want) {
			t.Errorf("no %.60q in the capture", want)
		}
	}
}

func checkReport(t *testing.T, r *Result) {
	t.Helper()
	var b strings.Builder
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"a=dh-init:1 ", "a=dh-resp:1 ", "a=dh-fin:1 ", r.SASWordsA, r.SASWordsB, r.SASCodeA, r.SASCodeB, r.Files.Wiretap, r.Files.PCAP} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in the report", want)
		}
	}
	if strings.Contains(b.String(), "differ: somebody") != r.Mitm {
		t.Errorf("the report says\n%s", b.String())
	}
	js, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(js, &fields); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sas_a", "sas_b", "sas_equal", "group", "suite", "packets_sent", "packets_heard", "audio_match", "tap_packets", "tap_plain",
		"invite_added_bytes", "answer_added_bytes", "ack_added_bytes", "ok", "transport", "mitm", "trust_a", "trust_b", "files"} {
		if _, ok := fields[name]; !ok {
			t.Errorf("no %s in %s", name, js)
		}
	}
}

// Whoever gives up gets his error soon, and nothing is left behind.
func TestRunGivesUp(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "sound")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	said := 0
	r, err := Run(ctx, Options{Dir: dir, Progress: func(string) {
		if said++; said == 3 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) || r != nil {
		t.Errorf("%v, %v", r, err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the empty folder is left: %v", err)
	}
}

func TestRunRefusesOptions(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]Options{
		"transport": {Transport: "sctp", Dir: t.TempDir()},
		"folder":    {Dir: file},
		"capture":   {Dir: t.TempDir(), PCAP: filepath.Join(file, "x.pcap")},
	} {
		if r, err := Run(t.Context(), o); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	good := func() Result {
		return Result{SASA: "x 1", SASB: "x 1", SASEqual: true, TrustA: "encrypted", TrustB: "encrypted", Group: "x25519",
			PacketsSent: 10, PacketsHeard: 10, AudioMatch: 0.95, TapPackets: 10, InviteAdded: 256, AnswerAdded: 160, AckAdded: 160}
	}
	for _, c := range []struct {
		name   string
		change func(*Result)
		ok     bool
	}{
		{"as it should be", func(*Result) {}, true},
		{"hybrid answer", func(r *Result) { r.Group, r.AnswerAdded, r.AckAdded = "x25519mlkem768", 2000, 2000 }, true},
		{"strings differ", func(r *Result) { r.SASB, r.SASEqual = "y 2", false }, false},
		{"no string", func(r *Result) { r.SASA, r.SASB, r.SASEqual = "", "", false }, false},
		{"sound", func(r *Result) { r.AudioMatch = 0.94 }, false},
		{"loss", func(r *Result) { r.PacketsHeard = 9 }, false},
		{"silence", func(r *Result) { r.PacketsSent, r.PacketsHeard = 0, 0 }, false},
		{"deaf tap", func(r *Result) { r.TapPackets = 0 }, false},
		{"readable", func(r *Result) { r.TapPlain = 1 }, false},
		{"trust a", func(r *Result) { r.TrustA = "none" }, false},
		{"trust b", func(r *Result) { r.TrustB = "mismatch" }, false},
		{"INVITE", func(r *Result) { r.InviteAdded = 257 }, false},
		{"200", func(r *Result) { r.AnswerAdded = 161 }, false},
		{"ACK", func(r *Result) { r.AckAdded = 161 }, false},
		{"seen", func(r *Result) { r.Mitm, r.SASB, r.SASEqual = true, "y 2", false }, true},
		{"not seen", func(r *Result) { r.Mitm = true }, false},
		{"seen, nothing heard", func(r *Result) { r.Mitm, r.SASB, r.SASEqual, r.AudioMatch = true, "y 2", false, 0.1 }, false},
	} {
		r := good()
		c.change(&r)
		r.judge()
		if r.OK != c.ok || r.OK != (len(r.Faults) == 0) {
			t.Errorf("%s: ok %v, faults %q", c.name, r.OK, r.Faults)
		}
		var b strings.Builder
		if err := r.Write(&b); err != nil || strings.Contains(b.String(), "NOT as it should be") == c.ok {
			t.Errorf("%s: the report says\n%s", c.name, b.String())
		}
	}
}
