//go:build interop && linux

package interop

import (
	_ "embed" // the scenario
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/sipward/sipward/demo/audio"
)

//go:embed testdata/caller.xml
var callerScenario string

// sipp is a scripted caller. It records nothing; what it hears is seen in a
// capture of its own wire.
type sipp struct {
	*process
	sip int // port for SIP
	rtp int // first port for RTP
}

// startSIPp calls callee through the address with a port, says voice for as long
// as the call lasts, and hangs up. It ends with exit status 0 if every message
// came as expected.
func startSIPp(t *testing.T, callee string, voice []int16, remote, transport string, lasts time.Duration) *sipp {
	t.Helper()
	return startScenario(t, callerScenario, voice, transport, lasts, remote, "-s", callee)
}

// startScenario lets SIPp play a scenario in which somebody with that voice speaks.
func startScenario(t *testing.T, scenario string, voice []int16, transport string, lasts time.Duration, args ...string) *sipp {
	t.Helper()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "scenario.xml"), scenario)
	writeFile(t, filepath.Join(dir, "speech.ulaw"), string(audio.EncodeMuLaw(voice)))
	writeFile(t, filepath.Join(dir, "speech.alaw"), string(audio.EncodeALaw(voice)))
	first := freePorts(t, 2+rtpPorts)
	p := &sipp{sip: first, rtp: first + 2}
	mode := map[string]string{"udp": "u1", "tcp": "t1"}[transport]
	p.process = start(t, "SIPp", dir, "sipp", append(args,
		"-sf", "scenario.xml", "-t", mode,
		"-i", phoneHost, "-p", strconv.Itoa(p.sip),
		"-mi", phoneHost, "-mp", strconv.Itoa(p.rtp),
		"-m", "1", "-d", strconv.FormatInt(lasts.Milliseconds(), 10),
		"-timeout", strconv.Itoa(int((lasts+2*patience).Seconds())), "-timeout_error",
		"-nostdin", "-trace_err", "-error_file", "/dev/stderr", "-trace_msg", "-message_file", "/dev/stdout")...)
	return p
}
